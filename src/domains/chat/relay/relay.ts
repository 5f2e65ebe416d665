import { stopCauseOf, StopReason, type StopCause } from '../../../shared/abort.ts';
import { AppError, isAppError } from '../../../shared/errors.ts';
import type { TokenBudget, TokenPayer } from '../../../shared/key-limits.ts';
import { mayUseDeployment, type Principal } from '../../../shared/principal.ts';
import { PushStream } from '../../../shared/push-stream.ts';
import type { StreamingHttp, StreamingRequest, StreamingResponse } from '../../../shared/streaming-http.ts';
import type { Deployments, InferenceTarget, ReadyTarget } from '../../deployments/types.ts';
import { knownShape } from '../chat.input.ts';
import { sessionNotFound } from '../faults.ts';
import { tokensOf } from '../generation/answer-meter.ts';
import { mediaTypeOf, openCompletion } from '../generation/completion-request.ts';
import { causeOf } from '../generation/engine-loss.ts';
import type { Generations, RunningAnswer } from '../generation/generations.ts';
import { linkSignals } from '../generation/linked-signal.ts';
import { waitForTarget } from '../generation/wait-for-target.ts';
import { Watchdog } from '../generation/watchdog.ts';
import { notAnAnswer } from '../generation/upstream-faults.ts';
import type { SessionRepository } from '../session.repository.ts';
import { createStreamUsageTap, createWholeUsageTap, type UsageTap } from './usage-tap.ts';
import { toKeepable } from './keepable.ts';
import { createStreamTap, createWholeTap, type Tap } from './recorder.ts';
import { Recording, type RecordingDeps } from './recording.ts';
import type { RelayRequest, Relays, RelaySink } from './types.ts';
import { WholeEvents } from './whole-events.ts';

export type RelayDeps = Omit<RecordingDeps, 'onLost'> & {
  http: StreamingHttp;
  deployments: Pick<Deployments, 'ensureReady' | 'findByName'>;
  sessions: SessionRepository;
  generations: Generations;
  budget: TokenBudget;
};

const eventStream = 'text/event-stream';
const contentTypes = new Set(['application/json', eventStream]);
const recordedBytesMax = 8 * 1024 * 1024;

/** Passes requests of programs that speak OpenAI's API on to deployments. */
export function createRelays(deps: RelayDeps): Relays {
  return {
    async relay(request, sink, principal, signal) {
      const deploymentId = await findDeployment(request, principal, deps);
      const record = request.record && toKeepable(request.record);
      const sessionId = await findSession(request, principal, deps);
      const payer = await deps.budget.payerOf(principal);
      const reservation = deps.generations.reserve(1);
      try {
        const relay = new Relay({ request: { ...request, record }, deploymentId, sessionId, owner: principal.owner, payer }, sink, deps);
        reservation.adopt(relay);
        await relay.run(signal);
      } finally {
        reservation.release();
      }
    },
  };
}

async function findDeployment({ model }: RelayRequest, principal: Principal, { deployments }: RelayDeps): Promise<string> {
  const deployment = await deployments.findByName(model);
  if (deployment && mayUseDeployment(principal, deployment.id)) return deployment.id;
  throw new AppError('DEPLOYMENT_NOT_FOUND', `There is no deployment with the name ${JSON.stringify(model)}; GET /v1/models lists them.`);
}

async function findSession({ record }: RelayRequest, { owner }: Principal, { sessions }: RelayDeps): Promise<string | null> {
  if (!record || record.sessionId === null) return null;
  const id = knownShape(record.sessionId);
  const session = id && (await sessions.find(id, owner));
  if (!session) throw sessionNotFound();
  return session.id;
}

type RelayJob = { request: RelayRequest; deploymentId: string; sessionId: string | null; owner: string; payer: TokenPayer };

/** One request and the engine's answer to it. */
class Relay implements RunningAnswer {
  readonly ended: Promise<void>;
  readonly #end: () => void;
  readonly #job: RelayJob;
  readonly #sink: RelaySink;
  readonly #deps: RelayDeps;
  readonly #stop = new AbortController();
  #target: ReadyTarget | null = null;
  #recording: Recording | null = null;
  #tap: Tap | null = null;
  #usage: UsageTap | null = null;

  constructor(job: RelayJob, sink: RelaySink, deps: RelayDeps) {
    this.#job = job;
    this.#sink = sink;
    this.#deps = deps;
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.ended = promise;
    this.#end = () => resolve(undefined);
  }

  get deploymentId(): string {
    return this.#job.deploymentId;
  }

  get owner(): string {
    return this.#job.owner;
  }

  get messageId(): string | null {
    return this.#recording?.messageId ?? null;
  }

  get sessionId(): string | null {
    return this.#recording?.sessionId ?? this.#job.sessionId;
  }

  abort(why: StopCause): void {
    this.#stop.abort(new StopReason(why));
  }

  /** Once. */
  async run(signal: AbortSignal): Promise<void> {
    const caller = linkSignals([signal, this.#stop.signal]);
    try {
      await this.#pass(caller.signal);
      this.#target?.release('succeeded');
      await this.#spend();
      await this.#recording?.end(null, this.#tap?.finishReason ?? 'stop', false);
    } catch (error) {
      const cause = await causeOf(error, this.#target, caller.signal);
      await this.#spend();
      // To leave is how a caller of this API stops an answer.
      await this.#recording?.end(stopCauseOf(cause) === 'caller_gone' ? new StopReason('stopped') : cause, 'stop', caller.signal.aborted);
      throw toCallersError(cause, signal);
    } finally {
      // Nothing happens where it has succeeded.
      this.#target?.release('failed');
      caller.unlink();
      this.#end();
    }
  }

  /** Before the caller has the end of the answer: its next request knows of it. */
  async #spend(): Promise<void> {
    await this.#deps.budget.spend(this.#job.payer, this.#usage?.tokens ?? tokensOf(this.#recording?.meter.usage ?? null));
  }

  async #pass(caller: AbortSignal): Promise<void> {
    const { limits } = this.#deps;
    const { request } = this.#job;
    this.#target = await waitForTarget(this.#job.deploymentId, { deployments: this.#deps.deployments, startWaitMs: limits.startWaitMs }, caller);
    const watchdog = new Watchdog('The model sent nothing for too long.');
    const over = new AbortController();
    const { signal, unlink } = linkSignals([caller, this.#target.lost, watchdog.signal, over.signal]);
    const silenceMs = request.isStream ? limits.stallMs : limits.wholeAnswerMs;
    watchdog.feed(request.isStream ? limits.firstTokenMs : limits.wholeAnswerMs);
    try {
      const response = await this.#open(this.#target, signal);
      const contentType = contentTypeOf(response);
      if (request.record) this.#recording = await this.#record(request.record, this.#target, contentType);
      else if (this.#job.payer) this.#tap = this.#usage = this.#usageTap(contentType);
      this.#sink.begin({ contentType, sessionId: this.#recording?.sessionId ?? null, bytes: bytesOf(response, contentType) });
      await this.#copy(response, contentType, { fed: () => watchdog.feed(silenceMs), signal });
    } finally {
      // An answer that was begun and not read would keep its connection and the engine's slot.
      over.abort(new StopReason('superseded'));
      unlink();
      watchdog.end();
    }
  }

  async #open(target: InferenceTarget, signal: AbortSignal): Promise<StreamingResponse> {
    const { clock, limits } = this.#deps;
    const http = target.http ?? this.#deps.http;
    const { request } = this.#job;
    try {
      return await openCompletion(toUpstream(this.#job, target), { http, clock, busyWaitMs: limits.relayBusyWaitMs }, signal);
    } catch (error) {
      throw request.route === '/v1/embeddings' && isAppError(error, 'RUNTIME_UNAVAILABLE') && error.internal?.startsWith('status 404') ? noEmbeddings(error) : error;
    }
  }

  async #record(record: NonNullable<RelayRequest['record']>, target: InferenceTarget, contentType: string): Promise<Recording> {
    const { limits } = this.#deps;
    const onLost = (): void => this.abort('superseded');
    const recording = await Recording.begin({ ...record, sessionId: this.#job.sessionId }, target, this.#job.owner, { ...this.#deps, onLost });
    recording.meter.requestSent();
    const { eventCharsMax } = limits;
    this.#tap = contentType === eventStream ? createStreamTap(recording, { wantsUsage: wantsUsage(this.#job.request), eventCharsMax }) : createWholeTap(recording, recordedBytesMax);
    return recording;
  }

  #usageTap(contentType: string): UsageTap {
    const { eventCharsMax } = this.#deps.limits;
    return contentType === eventStream ? createStreamUsageTap({ wantsUsage: wantsUsage(this.#job.request), eventCharsMax }) : createWholeUsageTap();
  }

  async #copy({ body }: StreamingResponse, contentType: string, { fed, signal }: { fed: () => void; signal: AbortSignal }): Promise<void> {
    const events = contentType === eventStream ? new WholeEvents(this.#deps.limits.eventCharsMax) : null;
    const tap = this.#tap ?? { push: (chunk: Uint8Array) => (events ? events.push(chunk) : chunk), finish: () => events?.finish() ?? new Uint8Array() };
    const pass = (chunk: Uint8Array): Promise<void> | undefined => {
      // A server may go on sending into a connection that is closing.
      signal.throwIfAborted();
      fed();
      const ready = tap.push(chunk);
      return ready ? this.#sink.write(ready) : undefined;
    };
    await PushStream.of(body).each(pass, signal);
    signal.throwIfAborted();
    const rest = tap.finish();
    if (rest.length > 0) await this.#sink.write(rest);
  }
}

/** Chat always works, so a route that is missing here is one that this engine does not have. */
function noEmbeddings(cause: AppError): AppError {
  return new AppError('VALIDATION_FAILED', 'The engine of this model makes no embeddings.', { details: { fields: [{ field: 'model', message: 'makes no embeddings' }] }, cause });
}

/** Whether the caller asked for the usage at the end of its stream. */
function wantsUsage({ body }: RelayRequest): boolean {
  const options = body['stream_options'];
  return typeof options === 'object' && options !== null && 'include_usage' in options && options.include_usage === true;
}

function toUpstream({ request: { route, body, isStream, record }, payer }: RelayJob, target: InferenceTarget): StreamingRequest {
  const headers = { accept: isStream ? eventStream : 'application/json', ...target.headers, 'content-type': 'application/json' };
  const withUsage = isStream && (record || payer) ? { stream_options: { include_usage: true } } : {};
  return { method: 'POST', url: `${target.baseUrl.replace(/\/+$/, '')}${route}`, headers, body: JSON.stringify({ ...body, ...withUsage, model: target.model }) };
}

/** Null for a stream, of which something may be kept back, and where the engine did not tell. */
function bytesOf({ headers }: StreamingResponse, contentType: string): number | null {
  const given = headers['content-length'] ?? '';
  return contentType !== eventStream && /^\d{1,15}$/.test(given) ? Number(given) : null;
}

function contentTypeOf(response: StreamingResponse): string {
  const type = mediaTypeOf(response);
  if (contentTypes.has(type)) return type;
  throw notAnAnswer(`content type ${type}`);
}

/** A deliberate stop in words for the program that waits for the answer; its own leaving stays what it is. */
function toCallersError(cause: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return cause;
  switch (stopCauseOf(cause)) {
    case undefined:
      return cause;
    case 'shutdown':
      return new AppError('SHUTTING_DOWN', 'The service is being stopped.');
    case 'stopped':
    case 'cancelled':
    case 'paused':
    case 'caller_gone':
    case 'superseded':
      return new AppError('INTERRUPTED', 'The answer was stopped before it was complete.');
  }
}
