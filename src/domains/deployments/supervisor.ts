import { isAbort, StopReason, type StopCause } from '../../shared/abort.ts';
import { abortable, createGate, KeyedMutex, type Gate } from '../../shared/async.ts';
import type { Clock } from '../../shared/clock.ts';
import type { EventBus } from '../../shared/event-bus.ts';
import type { Logger } from '../../shared/logger.ts';
import { keepAliveMsOf } from './deployment-config.ts';
import type { DeploymentStatus, DesiredStatus } from './deployment.machine.ts';
import type { DeploymentRepository, DeploymentRow, StatePatch } from './deployment.repository.ts';
import type { GenerationProbe } from './generation-probe.ts';
import { EngineCycle, type CycleOwner, type Next } from './engine-cycle.ts';
import { LiveEngine } from './live-engine.ts';
import type { LogStore } from './logs/log-store.ts';
import type { ModelRuntime, RuntimeStart } from './runtime.ts';
import { assertComing, freshCounts, nothingRuns, tooManyWait, toTarget } from './supervisor-answers.ts';
import type { InferenceTarget, ReadyTarget } from './types.ts';

export type SupervisorDeps = {
  /** Of this process. */
  instanceId: string;
  repository: DeploymentRepository;
  logs: LogStore;
  events: EventBus;
  clock: Clock;
  logger: Logger;
  runtimeOf: (id: string) => ModelRuntime | undefined;
  /** What the runtime is given for this row; throws when the model cannot be started (not installed, does not fit). */
  prepare: (row: DeploymentRow, signal: AbortSignal) => Promise<Pick<RuntimeStart, 'modelPath' | 'ownModel' | 'apiKey'>>;
  /** The engine has taken its memory, or will not. */
  onSettled: (id: string) => void;
  startTimeoutMs: number;
  drainMs: number;
  /** Left out: health is told by checks alone. */
  generate?: GenerationProbe | undefined;
};

/** A database that is away comes back; meanwhile the loop neither spins nor gives up. */
const faultPauseMs = 2_000;
/** Requests that may wait for an engine to be loaded. */
const waitingMax = 64;

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
  /** Why it is not loaded although it is wanted: nobody used it, or another model needed the room. */
  #unloaded: string | null = null;
  /** When this service ends the engine goes on. */
  #keeps = false;
  #waiting = 0;
  #retryAtMs: number | null = null;
  readonly live: LiveEngine;
  readonly #cycle: EngineCycle;
  /** Opens when the engine that runs now has ended. */
  #ended: Gate = createGate();

  constructor(id: string, deps: SupervisorDeps) {
    this.id = id;
    this.#deps = deps;
    this.live = new LiveEngine(deps.clock);
    this.#cycle = new EngineCycle({ id, deps, live: this.live, owner: this.#asOwner() });
  }

  /** Wants it running. From a stopped or failed state it is `pending` when this returns. */
  async start(reason = 'asked for'): Promise<void> {
    await this.#commands.run('', () => this.#start(reason));
  }

  async #start(reason: string): Promise<void> {
    this.#wish = 'running';
    this.#unloaded = null;
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
  }

  /** Goes on with a row that is `pending` already: one that was just created. */
  adopt(): void {
    this.#wish = 'running';
    this.#launch();
  }

  /** Goes on with a row that is `running`: its engine is taken over, or started anew where that cannot be. */
  inherit(): void {
    this.#cycle.inherits = true;
    this.adopt();
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
      this.#unloaded = null;
      await this.#deps.repository.patch(this.id, { desiredStatus: 'running' });
      await this.#change('restarting', {}, 'asked for');
      await this.#renew();
    });
  }

  /** Ends the engine, or with `keep` lets it go on, and keeps the wish: the next start of the service brings it back. */
  async close(keep: boolean, signal: AbortSignal): Promise<void> {
    this.#closing = true;
    this.#keeps = keep;
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

  /** Resolves when nothing runs any more, and when it is wanted again: whoever waits for its end has to ask for it anew then. */
  async ended(): Promise<void> {
    while (this.#loop && this.#wish === 'stopped') await Promise.race([this.#loop, this.live.changed]);
  }

  /** See `Deployments.target`. */
  async target(signal: AbortSignal): Promise<InferenceTarget> {
    for (;;) {
      const { changed, current: live } = this.live;
      if (live && this.#wish === 'running' && this.#unloaded === null && !this.#life.signal.aborted) {
        this.live.usage.touch();
        return toTarget(live);
      }
      const row = await this.#deps.repository.find(this.id);
      const retryInMs = this.#retryAtMs === null ? 0 : this.#retryAtMs - this.#deps.clock.monotonicMs();
      assertComing(row, { isWanted: this.#wish === 'running' && this.#unloaded === null && !this.#closing, retryInMs });
      await abortable(changed, signal);
    }
  }

  /** See `Deployments.ensureReady`. */
  async ensureReady(signal: AbortSignal): Promise<ReadyTarget> {
    if (!this.live.current && this.#waiting >= waitingMax) throw tooManyWait();
    // Counted before anything is awaited: from here on it is not unloaded.
    const release = this.live.usage.begin();
    this.#waiting += 1;
    try {
      await this.#wake();
      return { ...(await this.target(signal)), release };
    } catch (error) {
      release('unused');
      throw error;
    } finally {
      this.#waiting -= 1;
    }
  }

  async #wake(): Promise<void> {
    if (this.live.current && this.#unloaded === null) return;
    await this.#commands.run('', async () => {
      const row = await this.#deps.repository.find(this.id);
      if (!row || this.#closing || row.desiredStatus !== 'running' || keepAliveMsOf(row.config) === null) return;
      const isResting = this.#loop ? this.#unloaded !== null : row.status === 'stopped';
      if (isResting) await this.#start('a request needs it');
    });
  }

  /** When it was last used, where it may be unloaded now to make room: loaded on demand and not in use. Else null. */
  get idleSinceMs(): number | null {
    const isPinned = !this.live.current || keepAliveMsOf(this.live.current.row.config) === null;
    return isPinned || this.live.usage.isBusy || this.#unloaded !== null ? null : this.live.usage.lastAtMs;
  }

  /** Loaded on demand and in use: it may be unloaded once that use has ended. */
  get isBusyOnDemand(): boolean {
    const { current, usage } = this.live;
    return current !== null && keepAliveMsOf(current.row.config) !== null && usage.isBusy && this.#unloaded === null;
  }

  /** Ends an engine that nobody uses, until the next request; false when somebody uses it after all. */
  async unload(reason: string): Promise<boolean> {
    return await this.#commands.run('', async () => {
      if (this.idleSinceMs === null || this.#wish === 'stopped' || this.#closing) return false;
      // Set first: a request that comes now waits for the next engine.
      this.#unloaded = reason;
      try {
        await this.#change('stopping', {}, reason);
      } catch (error) {
        this.#unloaded = null;
        throw error;
      }
      this.#abort('stopped');
      return true;
    });
  }

  /** Resolves when the engine that runs now has ended; another may have been started meanwhile. */
  async runEnded(): Promise<void> {
    await this.#ended.opened;
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
      const next = this.#rests() ? await this.#guard(life.signal, () => this.#rest()) : await this.#guard(life.signal, () => this.#cycleOnce(life.signal));
      if (next.type === 'done' && !life.signal.aborted && !this.#isAsked()) break;
      if (next.type === 'wait') await this.#wait(next.delayMs, life.signal);
    }
    this.#loop = null;
    this.#deps.onSettled(this.id);
    this.live.notify();
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

  #rests(): boolean {
    return this.#closing || this.#wish === 'stopped' || this.#unloaded !== null;
  }

  async #rest(): Promise<Next> {
    if (this.#cycle.isReleased) return { type: 'done' };
    const isKept = this.#closing && this.#wish === 'running';
    await this.#change('stopped', nothingRuns, isKept ? 'the service ends' : (this.#unloaded ?? 'asked for'));
    return this.#rests() ? { type: 'done' } : { type: 'again' };
  }

  async #cycleOnce(signal: AbortSignal): Promise<Next> {
    const ended = createGate();
    this.#ended = ended;
    try {
      return await this.#cycle.run(signal);
    } finally {
      ended.open();
    }
  }

  #asOwner(): CycleOwner {
    return {
      change: (to, patch, reason) => this.#change(to, patch, reason),
      publish: (status) => this.#publish(status),
      answered: () => {
        this.#asked = false;
      },
      unwanted: () => {
        this.#wish = 'stopped';
      },
      unloaded: (why) => {
        this.#unloaded = why;
      },
      unload: (why) => this.unload(why),
      endReason: () => this.#unloaded ?? 'it was asked for',
      isKept: () => this.#keeps && this.#wish === 'running',
      force: this.#force.signal,
    };
  }

  /** An operator's word starts the curve anew and ends whatever goes on now. */
  async #renew(): Promise<void> {
    await this.#deps.repository.patch(this.id, freshCounts);
    this.#abort('superseded');
  }

  #abort(why: StopCause): void {
    this.#life.abort(new StopReason(why));
    this.live.notify();
  }

  async #change(to: DeploymentStatus, patch: StatePatch = {}, reason?: string, from?: readonly DeploymentStatus[]): Promise<DeploymentStatus | null> {
    const at = this.#deps.clock.now();
    const left = await this.#deps.repository.change({ id: this.id, to, patch, at, ...(reason === undefined ? {} : { reason }), ...(from && { from }) });
    if (left !== null) this.#publish(to);
    return left;
  }

  #publish(status: DeploymentStatus): void {
    this.#deps.events.publish('deployment.changed', this.id, { deploymentId: this.id, status });
    this.live.notify();
  }
}
