import { StopReason, type StopCause } from '../../../shared/abort.ts';
import type { EventBus } from '../../../shared/event-bus.ts';
import type { TokenBudget } from '../../../shared/key-limits.ts';
import type { Logger } from '../../../shared/logger.ts';
import type { TokenStream } from '../../../shared/token-stream.ts';
import type { TurnQueue } from '../../../shared/turn-queue.ts';
import type { Deployments, ReadyTarget, UseOutcome } from '../../deployments/types.ts';
import type { MessageRepository } from '../message.repository.ts';
import { AnswerKeeper, endingOf, type Ending } from './answer-keeper.ts';
import { AnswerMeter, tokensOf } from './answer-meter.ts';
import { askEngine, type AnswerJob, type EngineDeps } from './ask-engine.ts';
import { causeOf } from './engine-loss.ts';
import type { PartialSaver } from './partial-saver.ts';
import { PieceWriter } from './piece-writer.ts';
import type { Readers } from './readers.ts';
import { waitForTarget } from './wait-for-target.ts';

export type GenerationDeps = EngineDeps & {
  deployments: Pick<Deployments, 'ensureReady'>;
  messages: MessageRepository;
  readers: Readers;
  budget: TokenBudget;
  saver: PartialSaver;
  ends: TurnQueue;
  tokenStream: TokenStream;
  events: EventBus;
  logger: Logger;
};

/** The making of one answer, from its empty row to its stored end; goes on whether or not anybody reads. */
export class Generation {
  readonly messageId: string;
  readonly sessionId: string;
  readonly deploymentId: string;
  readonly owner: string;
  /** Resolves when the end is stored, in the stream and published; never rejects. */
  readonly ended: Promise<void>;
  readonly #job: AnswerJob;
  readonly #deps: GenerationDeps;
  readonly #stop = new AbortController();
  readonly #writer: PieceWriter;
  readonly #meter: AnswerMeter;
  readonly #keeper: AnswerKeeper;

  constructor(job: AnswerJob, deps: GenerationDeps) {
    this.messageId = job.messageId;
    this.sessionId = job.sessionId;
    this.deploymentId = job.deploymentId;
    this.owner = job.owner;
    this.#job = job;
    this.#deps = { ...deps, logger: deps.logger.child({ messageId: job.messageId, deploymentId: job.deploymentId }) };
    this.#writer = new PieceWriter({ messageId: job.messageId, tokenStream: deps.tokenStream, bytesMax: deps.limits.answerBytesMax });
    this.#meter = new AnswerMeter(deps.clock);
    this.#keeper = new AnswerKeeper(job, { ...this.#deps, writer: this.#writer, partialEveryMs: deps.limits.partialEveryMs });
    this.ended = this.#run().catch((error: unknown) => this.#deps.logger.error({ err: error }, 'the end of an answer could not be stored'));
  }

  /** `stopped` keeps the text as the caller's wish, `shutdown` as an interruption. The engine's slot is freed at once. */
  abort(why: StopCause): void {
    this.#stop.abort(new StopReason(why));
  }

  #endUnread(): void {
    this.#deps.logger.info({}, 'nobody reads an answer any more; it is stopped');
    this.abort('stopped');
  }

  async #run(): Promise<void> {
    const saving = new AbortController();
    const saver = this.#keeper.savePartials(() => this.abort('superseded'), saving.signal);
    void this.#deps.readers.watch(this.messageId, () => this.#endUnread(), saving.signal);
    const ending = await this.#generate();
    saving.abort(new StopReason('superseded'));
    await saver;
    const { usage } = this.#meter;
    // Before anybody hears of the end: the next request knows of it.
    await this.#deps.budget.spend(this.#job.payer, tokensOf(usage));
    await this.#keeper.settle(ending, usage);
  }

  async #generate(): Promise<Ending> {
    const { logger, deployments, limits } = this.#deps;
    let target: ReadyTarget | null = null;
    let outcome: UseOutcome = 'failed';
    try {
      target = await waitForTarget(this.#job.deploymentId, { deployments, startWaitMs: limits.startWaitMs }, this.#stop.signal);
      const finishReason = await askEngine(this.#job, target, { ...this.#deps, writer: this.#writer, meter: this.#meter }, this.#stop.signal);
      outcome = 'succeeded';
      return { status: 'completed', finishReason, error: null };
    } catch (error) {
      const cause = await causeOf(error, target, this.#stop.signal);
      return endingOf(cause, { isOurs: this.#stop.signal.aborted, logger });
    } finally {
      target?.release(outcome);
    }
  }
}
