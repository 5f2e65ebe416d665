import { StopReason, stopCauseOf, type StopCause } from '../../../shared/abort.ts';
import { sleep } from '../../../shared/async.ts';
import { AppError, isAppError, toStoredError } from '../../../shared/errors.ts';
import type { EventBus } from '../../../shared/event-bus.ts';
import type { Logger } from '../../../shared/logger.ts';
import type { TokenStream } from '../../../shared/token-stream.ts';
import type { Deployments, InferenceTarget } from '../../deployments/types.ts';
import type { EndedAnswer, MessageRepository } from '../message.repository.ts';
import { AnswerMeter } from './answer-meter.ts';
import { askEngine, type AnswerJob, type EngineDeps } from './ask-engine.ts';
import { linkSignals } from './linked-signal.ts';
import { PieceWriter } from './piece-writer.ts';
import { Watchdog } from './watchdog.ts';

export type GenerationDeps = EngineDeps & {
  deployments: Pick<Deployments, 'target'>;
  messages: MessageRepository;
  tokenStream: TokenStream;
  events: EventBus;
  logger: Logger;
};

/** How an answer ended, without its text. */
type Ending = Omit<EndedAnswer, 'text' | 'usage'>;

/** The socket of an engine that died is closed a moment before its supervisor has heard of it. */
const lostNoticeMs = 1_000;
const storePausesMs = [100, 250, 500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000];

/** The making of one answer, from its empty row to its stored end; goes on whether or not anybody reads. */
export class Generation {
  readonly job: AnswerJob;
  /** Resolves when the end is stored, in the stream and published; never rejects. */
  readonly ended: Promise<void>;
  readonly #deps: GenerationDeps;
  readonly #stop = new AbortController();
  readonly #writer: PieceWriter;
  readonly #meter: AnswerMeter;

  constructor(job: AnswerJob, deps: GenerationDeps) {
    this.job = job;
    this.#deps = { ...deps, logger: deps.logger.child({ messageId: job.messageId, deploymentId: job.deploymentId }) };
    this.#writer = new PieceWriter({ messageId: job.messageId, tokenStream: deps.tokenStream, clock: deps.clock, bytesMax: deps.limits.answerBytesMax });
    this.#meter = new AnswerMeter(deps.clock);
    this.ended = this.#run().catch((error: unknown) => this.#deps.logger.error({ err: error }, 'the end of an answer could not be stored'));
  }

  /** `stopped` keeps the text as the caller's wish, `shutdown` as an interruption. The engine's slot is freed at once. */
  abort(why: StopCause): void {
    this.#stop.abort(new StopReason(why));
  }

  async #run(): Promise<void> {
    const saving = new AbortController();
    const saver = this.#savePartials(saving.signal);
    const ending = await this.#generate();
    saving.abort(new StopReason('superseded'));
    await saver;
    await this.#settle(ending);
  }

  async #generate(): Promise<Ending> {
    let target: InferenceTarget | null = null;
    try {
      target = await this.#waitForTarget();
      const finishReason = await askEngine(this.job, target, { ...this.#deps, writer: this.#writer, meter: this.#meter }, this.#stop.signal);
      await this.#writer.flush();
      return { status: 'completed', finishReason, error: null };
    } catch (error) {
      const cause = await this.#causeOf(error, target);
      await this.#writer.flush().catch((fault: unknown) => this.#deps.logger.error({ err: fault }, 'pieces of an answer could not be put into its stream'));
      return this.#endingOf(cause);
    }
  }

  async #waitForTarget(): Promise<InferenceTarget> {
    const { deployments, limits } = this.#deps;
    const watchdog = new Watchdog('The deployment was not ready in time.');
    const { signal, unlink } = linkSignals([this.#stop.signal, watchdog.signal]);
    watchdog.feed(limits.startWaitMs);
    try {
      return await deployments.target(this.job.deploymentId, signal);
    } finally {
      unlink();
      watchdog.end();
    }
  }

  /** Why it really ended: a stop of ours or the engine's end explain a broken connection, not the other way round. */
  async #causeOf(error: unknown, target: InferenceTarget | null): Promise<unknown> {
    if (this.#stop.signal.aborted) return this.#stop.signal.reason;
    if (!target) return error;
    if (!target.lost.aborted && isAppError(error, 'NETWORK_FAILED')) await waitForAbort([target.lost, this.#stop.signal], lostNoticeMs);
    return target.lost.aborted ? target.lost.reason : error;
  }

  #endingOf(cause: unknown): Ending {
    switch (stopCauseOf(cause)) {
      case undefined:
        return this.#failureOf(cause);
      case 'stopped':
      case 'cancelled':
        return this.#stop.signal.aborted ? { status: 'stopped', finishReason: 'stopped', error: null } : interrupted('The deployment was stopped before the answer was complete.');
      case 'shutdown':
        return interrupted('The service was stopped before the answer was complete.');
      case 'paused':
      case 'caller_gone':
      case 'superseded':
        return interrupted('The answer was broken off before it was complete.');
    }
  }

  #failureOf(cause: unknown): Ending {
    if (cause instanceof AppError) this.#deps.logger.warn({ code: cause.code, internal: cause.internal }, 'an answer failed');
    else this.#deps.logger.error({ err: cause }, 'an answer failed');
    const code = isAppError(cause, 'NETWORK_FAILED') ? new AppError('RUNTIME_UNAVAILABLE', cause.message) : cause;
    return { status: 'failed', finishReason: 'error', error: toStoredError(code, 'INTERNAL', 'The answer failed by a fault of the service.') };
  }

  async #savePartials(signal: AbortSignal): Promise<void> {
    const { clock, limits, messages, logger } = this.#deps;
    let savedLength = 0;
    while (await passed(clock.sleep(limits.partialEveryMs, signal))) {
      const text = this.#writer.written;
      if (text.content.length === savedLength) continue;
      try {
        const isOurs = await messages.savePartial(this.job.messageId, text);
        savedLength = text.content.length;
        if (!isOurs) this.abort('superseded');
      } catch (error) {
        logger.warn({ err: error }, 'the text so far could not be stored; the next save tries again');
      }
    }
  }

  /** Stored first: whoever reads the end from the stream finds the same in the database. */
  async #settle(ending: Ending): Promise<void> {
    const { tokenStream, events } = this.#deps;
    const { messageId, sessionId } = this.job;
    const answer: EndedAnswer = { ...ending, text: this.#writer.written, usage: this.#meter.usage };
    const outcome = await this.#store(answer);
    try {
      await tokenStream.end(messageId, outcome);
    } finally {
      events.publish('chat.session_changed', sessionId, { sessionId, messageId });
    }
  }

  async #store(answer: EndedAnswer): Promise<StreamOutcome> {
    const { messages, clock, logger } = this.#deps;
    const { messageId, owner } = this.job;
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

/** What the stream's end carries. */
export type StreamOutcome = Pick<EndedAnswer, 'usage' | 'finishReason' | 'error'> & { status: string };

export function toOutcome({ status, usage, finishReason, error }: StreamOutcome): StreamOutcome {
  return { status, usage, finishReason, error };
}

export function interrupted(message: string): Ending & { status: 'interrupted' } {
  return { status: 'interrupted', finishReason: 'error', error: { code: 'INTERRUPTED', message } };
}

async function passed(waiting: Promise<void>): Promise<boolean> {
  return await waiting.then(() => true, () => false);
}

/** Resolves when one of them aborts, at the latest after `ms`. */
async function waitForAbort(signals: readonly AbortSignal[], ms: number): Promise<void> {
  const { signal, unlink } = linkSignals(signals);
  await passed(sleep(ms, signal));
  unlink();
}
