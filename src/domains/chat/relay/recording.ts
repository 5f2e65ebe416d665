import type { SqlEntityManager } from '@mikro-orm/sql';
import { StopReason } from '../../../shared/abort.ts';
import type { Clock } from '../../../shared/clock.ts';
import { AppError } from '../../../shared/errors.ts';
import type { EventBus } from '../../../shared/event-bus.ts';
import type { Logger } from '../../../shared/logger.ts';
import type { TokenStream } from '../../../shared/token-stream.ts';
import type { TurnQueue } from '../../../shared/turn-queue.ts';
import type { InferenceTarget } from '../../deployments/types.ts';
import type { MessageRow } from '../chat.entity.ts';
import { AnswerKeeper, endingOf, type Ending } from '../generation/answer-keeper.ts';
import { AnswerMeter } from '../generation/answer-meter.ts';
import type { ChatLimits } from '../generation/limits.ts';
import type { PartialSaver } from '../generation/partial-saver.ts';
import { PieceWriter } from '../generation/piece-writer.ts';
import type { MessageRepository } from '../message.repository.ts';
import { storeTurn } from '../turn.repository.ts';
import type { RecordRequest } from './types.ts';

export type RecordingDeps = {
  em: SqlEntityManager;
  messages: MessageRepository;
  saver: PartialSaver;
  ends: TurnQueue;
  tokenStream: TokenStream;
  events: EventBus;
  clock: Clock;
  logger: Logger;
  limits: ChatLimits;
  instanceId: string;
};

/** One turn of a session whose answer is made by a relay: others can follow and stop it as any other. */
export class Recording {
  readonly messageId: string;
  readonly sessionId: string;
  readonly meter: AnswerMeter;
  readonly #deps: RecordingDeps;
  readonly #writer: PieceWriter;
  readonly #keeper: AnswerKeeper;
  readonly #saving = new AbortController();
  readonly #saver: Promise<void>;

  private constructor(answer: MessageRow, deps: RecordingDeps, onLost: () => void) {
    this.messageId = answer.id;
    this.sessionId = answer.sessionId;
    this.#deps = { ...deps, logger: deps.logger.child({ messageId: answer.id }) };
    this.meter = new AnswerMeter(deps.clock);
    this.#writer = new PieceWriter({ messageId: answer.id, tokenStream: deps.tokenStream, bytesMax: deps.limits.answerBytesMax });
    const row = { messageId: answer.id, sessionId: answer.sessionId, owner: answer.owner };
    this.#keeper = new AnswerKeeper(row, { ...this.#deps, writer: this.#writer, partialEveryMs: deps.limits.partialEveryMs });
    this.#saver = this.#keeper.savePartials(onLost, this.#saving.signal);
  }

  /** Stores the question and an empty answer. Throws CHAT_SESSION_NOT_FOUND, INVALID_STATE; `onLost`: somebody else has ended it. */
  static async begin(request: RecordRequest, target: InferenceTarget, owner: string, deps: RecordingDeps & { onLost: () => void }): Promise<Recording> {
    const turn = await storeTurn(deps.em, {
      owner,
      sessionId: request.sessionId,
      question: { type: 'new', text: request.question, parent: 'newest' },
      answerers: [{ deploymentId: target.deploymentId, modelId: target.modelId }],
      parameters: request.parameters,
      instanceId: deps.instanceId,
      at: deps.clock.now(),
      claim: null,
      systemPrompt: request.systemPrompt,
    });
    const answer = 'answers' in turn ? turn.answers[0] : undefined;
    if (!answer || !('question' in turn)) throw new AppError('INTERNAL', 'A turn was stored without an answer.');
    for (const { id: messageId, sessionId } of [turn.question, answer]) deps.events.publish('chat.session_changed', sessionId, { sessionId, messageId });
    return new Recording(answer, deps, deps.onLost);
  }

  /** What is longer than an answer may be is not kept; the reader gets it all the same. */
  write(text: string, pieces: number): void {
    this.meter.piecesCame(pieces);
    this.#writer.write(text);
  }

  /** Stores the end; never rejects. `cause` null: it is complete. */
  async end(cause: unknown, finishReason: 'stop' | 'length', isOurs: boolean): Promise<void> {
    const { logger } = this.#deps;
    this.#saving.abort(new StopReason('superseded'));
    try {
      await this.#saver;
      const ending: Ending = cause === null ? { status: 'completed', finishReason, error: null } : endingOf(cause, { isOurs, logger });
      await this.#keeper.settle(ending, this.meter.usage);
    } catch (error) {
      logger.error({ err: error }, 'a recorded answer could not be stored');
    }
  }
}
