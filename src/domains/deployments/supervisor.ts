import { isAbort, StopReason, type StopCause } from '../../shared/abort.ts';
import { abortable, createGate, KeyedMutex, type Gate } from '../../shared/async.ts';
import type { Clock } from '../../shared/clock.ts';
import { AppError, isAppError, type StoredError } from '../../shared/errors.ts';
import type { EventBus } from '../../shared/event-bus.ts';
import type { Logger } from '../../shared/logger.ts';
import type { DeploymentUse } from '../../shared/resources-sample.ts';
import { healthPolicyOf, restartPolicyOf } from './deployment-config.ts';
import { deploymentMachine, type DeploymentStatus, type DesiredStatus } from './deployment.machine.ts';
import type { DeploymentRepository, DeploymentRow, StatePatch } from './deployment.repository.ts';
import { failedStart, runEngine, type EngineRunHooks, type RunOutcome } from './engine-run.ts';
import { unknownHealth } from './health.ts';
import type { LogStore, OpenLog } from './logs/log-store.ts';
import { decideRestart } from './restart-policy.ts';
import type { ModelRuntime, RuntimeStart } from './runtime.ts';
import { failureMessage, freshCounts, nothingRuns, notRunning, toTarget, type LiveModel } from './supervisor-answers.ts';
import type { DeploymentHealth, DeploymentUseView, InferenceTarget } from './types.ts';

export type SupervisorDeps = {
  repository: DeploymentRepository;
  logs: LogStore;
  events: EventBus;
  clock: Clock;
  logger: Logger;
  runtimeOf: (id: string) => ModelRuntime | undefined;
  /** What the runtime is given for this row; throws when the model cannot be started (not installed, does not fit). */
  prepare: (row: DeploymentRow, signal: AbortSignal) => Promise<Pick<RuntimeStart, 'modelPath' | 'apiKey'>>;
  /** The engine has taken its memory, or will not. */
  onSettled: (id: string) => void;
  startTimeoutMs: number;
  drainMs: number;
};

type Next = { type: 'again' } | { type: 'wait'; delayMs: number } | { type: 'done' };

const noUse: DeploymentUseView = { cpuPercent: null, memoryBytes: null, gpuMemoryBytes: null };
/** Figures younger than this are given again: many readers of a list must not ask an engine many times. */
const useMaxAgeMs = 1_000;
const lastLinesTold = 20;
/** A database that is away comes back; meanwhile the loop neither spins nor gives up. */
const faultPauseMs = 2_000;
/** Whoever asks for a target waits for a restart that is this near, and is told to come again otherwise. */
const targetWaitMs = 15_000;

/**
 * Owns one deployment: the only one that starts its engine, ends it and writes its state. Commands record a wish
 * and return; one loop brings the engine into the state that is wished for, and back after every fault.
 */
export class Supervisor {
  readonly id: string;
  readonly #deps: SupervisorDeps;
  readonly #commands = new KeyedMutex();
  #wish: DesiredStatus = 'stopped';
  #loop: Promise<void> | null = null;
  #life = new AbortController();
  readonly #force = new AbortController();
  #closing = false;
  /** A start was asked for since the loop last looked; it may not end before it has looked again. */
  #asked = false;
  #live: LiveModel | null = null;
  #retryAtMs: number | null = null;
  #health: DeploymentHealth = unknownHealth;
  #use: { at: number; value: DeploymentUseView } | null = null;
  #changed: Gate = createGate();

  constructor(id: string, deps: SupervisorDeps) {
    this.id = id;
    this.#deps = deps;
  }

  get health(): DeploymentHealth {
    return this.#health;
  }

  /** Wants it running. From a stopped or failed state it is `pending` when this returns. */
  async start(reason = 'asked for'): Promise<void> {
    await this.#commands.run('', async () => {
      this.#wish = 'running';
      this.#asked = true;
      const anew: StatePatch = { ...freshCounts, error: null, endpoint: null, desiredStatus: 'running' };
      if (this.#loop) {
        // It has told its end already and is about to be over: the curve starts anew all the same.
        if ((await this.#change('pending', anew, reason, ['stopped', 'failed'])) !== null) return;
        await this.#deps.repository.patch(this.id, { desiredStatus: 'running' });
        if (this.#retryAtMs !== null) await this.#renew();
        return;
      }
      await this.#change('pending', anew, reason);
      // A row that a crash left `pending` does not change its state, yet may still have the other wish.
      await this.#deps.repository.patch(this.id, { desiredStatus: 'running' });
      this.#launch();
    });
  }

  /** Goes on with a row that is `pending` already: one that was just created. */
  adopt(): void {
    this.#wish = 'running';
    this.#launch();
  }

  /** Wants it stopped; it is `stopping` when this returns, or `stopped` where nothing ran. */
  async stop(): Promise<void> {
    await this.#commands.run('', async () => {
      this.#wish = 'stopped';
      await this.#deps.repository.patch(this.id, { desiredStatus: 'stopped' });
      await this.#change(this.#loop ? 'stopping' : 'stopped', this.#loop ? {} : nothingRuns, 'asked for');
      // Without a loop this ends nothing.
      this.#abort('stopped');
    });
  }

  /** Ends what runs and starts it anew; starts it where nothing runs. */
  async restart(): Promise<void> {
    if (!this.#loop) return this.start();
    await this.#commands.run('', async () => {
      this.#wish = 'running';
      await this.#deps.repository.patch(this.id, { desiredStatus: 'running' });
      await this.#change('restarting', {}, 'asked for');
      await this.#renew();
    });
  }

  /** Ends the engine and keeps the wish, so that the next start of the service brings it back. */
  async close(signal: AbortSignal): Promise<void> {
    this.#closing = true;
    const force = (): void => this.#force.abort();
    signal.addEventListener('abort', force, { once: true });
    if (signal.aborted) force();
    this.#abort('shutdown');
    await this.settled();
    signal.removeEventListener('abort', force);
  }

  /** Resolves when nothing runs and nothing is about to. */
  async settled(): Promise<void> {
    while (this.#loop) await this.#loop;
  }

  async use(): Promise<DeploymentUseView> {
    const live = this.#live;
    if (!live) return noUse;
    const now = this.#deps.clock.monotonicMs();
    if (this.#use && now - this.#use.at < useMaxAgeMs) return this.#use.value;
    const value = await live.model.use().catch(() => noUse);
    this.#use = { at: now, value };
    return value;
  }

  /** Null while nothing runs. */
  async namedUse(): Promise<DeploymentUse | null> {
    const row = this.#live?.row;
    return row ? { deploymentId: row.id, name: row.name, ...(await this.use()) } : null;
  }

  /** See `Deployments.target`. */
  async target(signal: AbortSignal): Promise<InferenceTarget> {
    for (;;) {
      const gate = this.#changed;
      const live = this.#live;
      if (live && this.#wish === 'running' && !this.#life.signal.aborted) return toTarget(live);
      await this.#assertComing();
      await abortable(gate.opened, signal);
    }
  }

  async #assertComing(): Promise<void> {
    const row = await this.#deps.repository.find(this.id);
    if (!row) throw new AppError('DEPLOYMENT_NOT_FOUND', 'There is no such deployment.');
    if (row.status === 'failed') throw new AppError('RUNTIME_UNAVAILABLE', `${row.name} failed: ${row.error?.message ?? 'no reason is known'}`);
    if (this.#wish === 'stopped' || this.#closing) throw notRunning(row);
    const waitMs = this.#retryAtMs === null ? 0 : this.#retryAtMs - this.#deps.clock.monotonicMs();
    if (waitMs <= targetWaitMs) return;
    const retryAfterSeconds = Math.ceil(waitMs / 1000);
    throw new AppError('RUNTIME_UNAVAILABLE', `${row.name} ended unexpectedly and is started again in ${retryAfterSeconds} s.`, { retryAfterSeconds });
  }

  #launch(): void {
    this.#loop = this.#run();
  }

  /** Never rejects. `#loop` is emptied in the same step that finds nothing more to do, so that no wish is missed. */
  async #run(): Promise<void> {
    for (;;) {
      const life = new AbortController();
      this.#life = life;
      this.#asked = false;
      const next = this.#closing || this.#wish === 'stopped' ? await this.#guard(life.signal, () => this.#rest()) : await this.#guard(life.signal, () => this.#cycle(life.signal));
      if (next.type === 'done' && !life.signal.aborted && !this.#isAsked()) break;
      if (next.type === 'wait') await this.#wait(next.delayMs, life.signal);
    }
    this.#loop = null;
    this.#deps.onSettled(this.id);
    this.#notify();
  }

  #isAsked(): boolean {
    return this.#asked;
  }

  async #guard(signal: AbortSignal, step: () => Promise<Next>): Promise<Next> {
    try {
      return await step();
    } catch (error) {
      if (signal.aborted && !(this.#closing && !isAbort(error))) return { type: 'again' };
      this.#deps.logger.error({ deploymentId: this.id, err: error }, 'the supervisor of a deployment met an error');
      // What is left undone at the end of the service is done by the next start.
      return this.#closing ? { type: 'done' } : { type: 'wait', delayMs: faultPauseMs };
    }
  }

  async #wait(delayMs: number, signal: AbortSignal): Promise<void> {
    this.#retryAtMs = this.#deps.clock.monotonicMs() + delayMs;
    try {
      if (delayMs > 0) await this.#deps.clock.sleep(delayMs, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      this.#retryAtMs = null;
    }
  }

  async #rest(): Promise<Next> {
    const isKept = this.#closing && this.#wish === 'running';
    await this.#change('stopped', nothingRuns, isKept ? 'the service ends' : 'asked for');
    return this.#closing || this.#wish === 'stopped' ? { type: 'done' } : { type: 'again' };
  }

  async #cycle(signal: AbortSignal): Promise<Next> {
    const { repository, logs } = this.#deps;
    this.#health = unknownHealth;
    const row = await repository.find(this.id);
    if (!row) return { type: 'done' };
    const runtime = this.#deps.runtimeOf(row.runtime);
    if (!runtime) return this.#fail({ code: 'RUNTIME_UNAVAILABLE', message: `There is no runtime ${row.runtime} any more.` }, {});
    if (!deploymentMachine.canGo(row.status, 'starting')) await this.#change('pending', {}, 'to be started');
    const run = row.runs + 1;
    const left = await this.#change('starting', { ...nothingRuns, runs: run, startedAt: null });
    signal.throwIfAborted();
    if (left === null) throw new Error(`deployment ${this.id} could not enter starting from ${row.status}`);
    const open = await logs.openRun(this.id, run);
    try {
      open.log.say('info', `Start ${run} of ${row.name} with ${runtime.name}.`);
      const outcome = await this.#runOnce({ row, runtime, open }, signal);
      await open.endOutput();
      return await this.#decide(runtime, outcome, open);
    } finally {
      if (signal.aborted) open.log.say('info', 'Ended because it was asked for.');
      this.#lose(new StopReason('stopped'));
      await open.close();
    }
  }

  async #runOnce(run: { row: DeploymentRow; runtime: ModelRuntime; open: OpenLog }, signal: AbortSignal): Promise<RunOutcome> {
    const { row, runtime, open } = run;
    const { clock, logger, startTimeoutMs, drainMs } = this.#deps;
    let given: Awaited<ReturnType<SupervisorDeps['prepare']>>;
    try {
      given = await this.#deps.prepare(row, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (isAppError(error)) return failedStart(error.code, error.message);
      throw error;
    }
    const request = { deploymentId: row.id, name: row.name, config: row.config, ...given };
    const health = healthPolicyOf(row.config, runtime);
    return await runEngine({ runtime, request, health, startTimeoutMs, drainMs, open, clock, logger, hooks: this.#hooks(row, open), force: this.#force.signal }, signal);
  }

  #hooks(row: DeploymentRow, open: OpenLog): EngineRunHooks {
    return {
      onHandle: (handle) => this.#deps.repository.patch(this.id, { handle }),
      onRunning: async (model) => {
        const patch: StatePatch = { endpoint: model.baseUrl, handle: model.handle, startedAt: this.#deps.clock.now(), error: null };
        await this.#change('running', patch);
        open.log.say('info', `Running at ${model.baseUrl}.`);
        this.#live = { model, lost: new AbortController(), row };
        this.#deps.onSettled(this.id);
        this.#notify();
      },
      onHealth: (health) => {
        const isNews = health.status !== this.#health.status;
        this.#health = health;
        if (isNews && this.#live) this.#publish('running');
      },
      onUnhealthy: async (message) => {
        await this.#change('unhealthy', {}, message);
      },
      onHealthyLong: () => this.#deps.repository.patch(this.id, { recentFailures: [] }),
      onLost: (why) => this.#lose(why),
    };
  }

  async #decide(runtime: ModelRuntime, outcome: RunOutcome, open: OpenLog): Promise<Next> {
    // A start that was asked for while it ran has been answered by its running; a later one counts.
    this.#asked = false;
    const row = await this.#deps.repository.find(this.id);
    if (!row) return { type: 'done' };
    const now = this.#deps.clock.now();
    const decision = decideRestart(restartPolicyOf(row.config, runtime), outcome, row.recentFailures, now);
    const { code, signal, reason } = outcome.exit;
    const patch: StatePatch = { ...nothingRuns, lastExit: { code, signal, reason, at: now.toISOString() }, error: outcome.error };
    open.log.say(outcome.clean ? 'info' : 'error', outcome.error.message);
    if (decision.action === 'end') {
      this.#wish = 'stopped';
      await this.#change('stopped', { ...patch, error: null, desiredStatus: 'stopped' }, outcome.error.message);
      return { type: 'done' };
    }
    if (decision.action === 'fail') {
      open.log.say('error', 'It is not started again.');
      const message = failureMessage(outcome, decision.inWindow, open.log.lastLines(lastLinesTold));
      return await this.#fail({ code: outcome.error.code, message }, { ...patch, recentFailures: decision.failures });
    }
    open.log.say('info', decision.delayMs === 0 ? 'It is started again.' : `It is started again in ${decision.delayMs / 1000} s.`);
    await this.#change('restarting', { ...patch, recentFailures: decision.failures, restarts: row.restarts + 1 }, outcome.error.message);
    return { type: 'wait', delayMs: decision.delayMs };
  }

  async #fail(error: StoredError, patch: StatePatch): Promise<Next> {
    await this.#change('failed', { ...patch, error }, error.message);
    return { type: 'done' };
  }

  /** An operator's word starts the curve anew and ends whatever goes on now. */
  async #renew(): Promise<void> {
    await this.#deps.repository.patch(this.id, freshCounts);
    this.#abort('superseded');
  }

  #abort(why: StopCause): void {
    this.#life.abort(new StopReason(why));
    this.#notify();
  }

  #lose(why: Error): void {
    this.#live?.lost.abort(why);
    this.#live = null;
    this.#use = null;
    this.#notify();
  }

  async #change(to: DeploymentStatus, patch: StatePatch = {}, reason?: string, from?: readonly DeploymentStatus[]): Promise<DeploymentStatus | null> {
    const at = this.#deps.clock.now();
    const left = await this.#deps.repository.change({ id: this.id, to, patch, at, ...(reason === undefined ? {} : { reason }), ...(from && { from }) });
    if (left !== null) this.#publish(to);
    return left;
  }

  #publish(status: DeploymentStatus): void {
    this.#deps.events.publish('deployment.changed', this.id, { deploymentId: this.id, status });
    this.#notify();
  }

  #notify(): void {
    const gate = this.#changed;
    this.#changed = createGate();
    gate.open();
  }
}
