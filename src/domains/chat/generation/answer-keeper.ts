import { stopCauseOf } from '../../../shared/abort.ts';
import type { Clock } from '../../../shared/clock.ts';
import { AppError, isAppError, toStoredError } from '../../../shared/errors.ts';
import type { EventBus } from '../../../shared/event-bus.ts';
import type { Logger } from '../../../shared/logger.ts';
import type { TokenStream } from '../../../shared/token-stream.ts';
import type { TurnQueue } from '../../../shared/turn-queue.ts';
import type { EndedAnswer, MessageRepository } from '../message.repository.ts';
import type { PartialSaver } from './partial-saver.ts';
import type { PieceWriter } from './piece-writer.ts';

/** The row that is being filled. */
export type AnswerRow = { messageId: string; sessionId: string; owner: string };

/** How an answer ended, without its text. */
export type Ending = Omit<EndedAnswer, 'text' | 'usage'>;

/** What the stream's end carries. */
export type StreamOutcome = Pick<EndedAnswer, 'usage' | 'finishReason' | 'error'> & { status: string };

export type AnswerKeeperDeps = {
  messages: MessageRepository;
  tokenStream: TokenStream;
  events: EventBus;
  clock: Clock;
  logger: Logger;
  writer: PieceWriter;
  saver: PartialSaver;
  /** Of all answers of this process. */
  ends: TurnQueue;
  partialEveryMs: number;
};

const storePausesMs = [100, 250, 500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000];

/** Keeps what the database and the readers know of one answer in step with what has been written of it. */
export class AnswerKeeper {
  readonly #row: AnswerRow;
  readonly #deps: AnswerKeeperDeps;

  constructor(row: AnswerRow, deps: AnswerKeeperDeps) {
    this.#row = row;
    this.#deps = deps;
  }

  /** Stores the text so far again and again until the signal aborts; `onLost` when the row has been ended by somebody else. */
  async savePartials(onLost: () => void, signal: AbortSignal): Promise<void> {
    const { clock, partialEveryMs, messages, logger, writer, saver } = this.#deps;
    const id = this.#row.messageId;
    const untilNextMs = saver.moment(partialEveryMs);
    let saved = { count: 0, bytes: 0 };
    while (await passed(clock.sleep(untilNextMs(clock.monotonicMs()), signal))) {
      const { count } = writer;
      if (count === saved.count) continue;
      const grown = writer.grown(saved.count, count);
      try {
        // As a whole where the row is not what we think: a save may have been stored and its answer lost.
        const isOurs = (await saver.save({ ...grown, id, hadBytes: saved.bytes })) || (await messages.savePartial(id, writer.written(count)));
        saved = { count, bytes: saved.bytes + Buffer.byteLength(grown.content) };
        if (!isOurs) onLost();
      } catch (error) {
        logger.warn({ err: error }, 'the text so far could not be stored; the next save tries again');
      }
    }
  }

  /** Stored first: whoever reads the end from the stream finds the same in the database. */
  async settle(ending: Ending, usage: EndedAnswer['usage']): Promise<void> {
    const { tokenStream, events, writer, ends } = this.#deps;
    const { messageId, sessionId } = this.#row;
    // Answers that began together end together, and each end is a millisecond or two of work.
    await ends.next();
    const outcome = await this.#store({ ...ending, text: writer.written(), usage });
    try {
      await tokenStream.end(messageId, outcome);
    } finally {
      events.publish('chat.session_changed', sessionId, { sessionId, messageId });
    }
  }

  async #store(answer: EndedAnswer): Promise<StreamOutcome> {
    const { messages, clock, logger } = this.#deps;
    const { messageId, owner } = this.#row;
    for (const pauseMs of storePausesMs) {
      try {
        if (await messages.end(messageId, answer, clock.now())) return toOutcome(answer);
        // Ended by somebody else, or deleted: what the database says holds.
        const row = await messages.find(messageId, owner);
        return toOutcome(row && row.status !== 'streaming' ? row : answer);
      } catch (error) {
        logger.warn({ err: error, pauseMs }, 'the end of an answer could not be stored; trying again');
        await clock.sleep(pauseMs);
      }
    }
    logger.error({}, 'the end of an answer was not stored; the next start of the service marks it interrupted');
    return toOutcome(answer);
  }
}

/** What a cause means for the answer; `isOurs`: somebody here ended it, and not the engine's supervisor. */
export function endingOf(cause: unknown, { isOurs, logger }: { isOurs: boolean; logger: Logger }): Ending {
  switch (stopCauseOf(cause)) {
    case undefined:
      return failureOf(cause, logger);
    case 'stopped':
    case 'cancelled':
      return isOurs ? { status: 'stopped', finishReason: 'stopped', error: null } : interrupted('The deployment was stopped before the answer was complete.');
    case 'shutdown':
      return interrupted('The service was stopped before the answer was complete.');
    case 'paused':
    case 'caller_gone':
    case 'superseded':
      return interrupted('The answer was broken off before it was complete.');
  }
}

function failureOf(cause: unknown, logger: Logger): Ending {
  if (cause instanceof AppError) logger.warn({ code: cause.code, internal: cause.internal }, 'an answer failed');
  else logger.error({ err: cause }, 'an answer failed');
  const code = isAppError(cause, 'NETWORK_FAILED') ? new AppError('RUNTIME_UNAVAILABLE', cause.message) : cause;
  return { status: 'failed', finishReason: 'error', error: toStoredError(code, 'INTERNAL', 'The answer failed by a fault of the service.') };
}

export function toOutcome({ status, usage, finishReason, error }: StreamOutcome): StreamOutcome {
  return { status, usage, finishReason, error };
}

export function interrupted(message: string): Ending & { status: 'interrupted' } {
  return { status: 'interrupted', finishReason: 'error', error: { code: 'INTERRUPTED', message } };
}

export async function passed(waiting: Promise<void>): Promise<boolean> {
  return await waiting.then(() => true, () => false);
}
