import { StopReason } from '../../shared/abort.ts';
import { isAppError, type StoredError } from '../../shared/errors.ts';
import { healthPolicyOf, keepAliveMsOf, restartPolicyOf } from './deployment-config.ts';
import { deploymentMachine, restingStatuses, type DeploymentStatus } from './deployment.machine.ts';
import type { DeploymentRow, StatePatch } from './deployment.repository.ts';
import { failedStart, harmless, runEngine, type EngineRunHooks, type RunOutcome } from './engine-run.ts';
import { unknownHealth, unknownNow } from './health.ts';
import type { LiveEngine } from './live-engine.ts';
import type { OpenLog } from './logs/log-store.ts';
import { tellable } from './logs/log-line.ts';
import { adoptModel, endLeftOver } from './model-adoption.ts';
import { decideRestart } from './restart-policy.ts';
import type { ModelRuntime, RunningModel } from './runtime.ts';
import { failureMessage, freshCounts, nothingRuns } from './supervisor-answers.ts';
import type { SupervisorDeps } from './supervisor.ts';

/** What follows a run: at once from the beginning, after a while, or nothing. */
export type Next = { type: 'again' } | { type: 'wait'; delayMs: number } | { type: 'done' };

/** The supervisor whose wish a cycle carries out. */
export type CycleOwner = {
  change: (to: DeploymentStatus, patch?: StatePatch, reason?: string) => Promise<DeploymentStatus | null>;
  publish: (status: DeploymentStatus) => void;
  /** The engine runs: earlier wishes for a start are answered by that. */
  answered: () => void;
  /** It did what it was meant to do and is not wanted again. */
  unwanted: () => void;
  /** Wanted, but not loaded until the next request. */
  unloaded: (why: string) => void;
  unload: (why: string) => Promise<boolean>;
  /** Why it is ended, when it is ended by the signal. */
  endReason: () => string;
  /** Whether the engine shall go on when it is to end. */
  isKept: () => boolean;
  /** Ends the draining at once. */
  force: AbortSignal;
};

export type CycleOptions = { id: string; deps: SupervisorDeps; live: LiveEngine; owner: CycleOwner };

type Run = { row: DeploymentRow; runtime: ModelRuntime; open: OpenLog };
type Begin = { adopted: RunningModel } | { given: Awaited<ReturnType<SupervisorDeps['prepare']>> };

const lastLinesTold = 20;
const leftOverLimitMs = 15_000;
const awayPauseMs = 2_000;

/** Runs of one deployment's engine, one after another: start or take over, watch, and decide what its end means. */
export class EngineCycle {
  /** What an earlier service process left running is taken over before anything is started. */
  inherits = false;
  readonly #id: string;
  readonly #deps: SupervisorDeps;
  readonly #live: LiveEngine;
  readonly #owner: CycleOwner;
  #isReleased = false;

  constructor({ id, deps, live, owner }: CycleOptions) {
    this.#id = id;
    this.#deps = deps;
    this.#live = live;
    this.#owner = owner;
  }

  /** The engine goes on without this process; what the row says stays true. */
  get isReleased(): boolean {
    return this.#isReleased;
  }

  /** One run from its start to its end. Rejects with the signal's reason when it was asked to end. */
  async run(signal: AbortSignal): Promise<Next> {
    const { repository, logs } = this.#deps;
    this.#live.health = unknownHealth;
    const row = await repository.find(this.#id);
    if (!row) return { type: 'done' };
    const runtime = this.#deps.runtimeOf(row.runtime);
    if (!runtime) return this.#fail({ code: 'RUNTIME_UNAVAILABLE', message: `There is no runtime ${row.runtime} any more.` }, {});
    if (row.status === 'restarting') await this.#untilReachable(runtime, signal);
    const { inherits } = this;
    if (inherits) {
      const next = await this.#inherit(row, runtime, signal);
      if (next) return next;
    }
    if (inherits || !deploymentMachine.canGo(row.status, 'starting')) await this.#owner.change('pending', nothingRuns, 'to be started');
    const run = row.runs + 1;
    // After its end it goes on only where somebody asks anew, whose own change may come behind this one and find nothing to do.
    const anew = restingStatuses.includes(row.status) ? { ...freshCounts, error: null } : {};
    const left = await this.#owner.change('starting', { ...nothingRuns, ...anew, runs: run, startedAt: null });
    signal.throwIfAborted();
    if (left === null) throw new Error(`deployment ${this.#id} could not enter starting from ${row.status}`);
    const open = await logs.openRun(this.#id, run);
    open.log.say('info', `Start ${run} of ${row.name} with ${runtime.name}.`);
    return await this.#follow({ row, runtime, open }, () => this.#start({ row, runtime, open }, signal), signal);
  }

  /** While the daemon that runs its models is away, a start would only use up the tries that a faulty model has. */
  async #untilReachable(runtime: ModelRuntime, signal: AbortSignal): Promise<void> {
    for (let reason = await runtime.awayReason?.(signal); typeof reason === 'string'; reason = await runtime.awayReason?.(signal)) {
      const isNews = this.#live.health.message !== reason;
      this.#live.health = unknownNow(this.#live.health, reason, this.#deps.clock.now());
      if (isNews) this.#owner.publish('restarting');
      await this.#deps.clock.sleep(awayPauseMs, signal);
    }
  }

  /** Null when there was nothing to take over; then nothing is left of it. */
  async #inherit(row: DeploymentRow, runtime: ModelRuntime, signal: AbortSignal): Promise<Next | null> {
    const open = await this.#deps.logs.resumeRun(this.#id, row.runs);
    const adopted = await adoptModel({ row, runtime, open, ...this.#deps }, signal).catch(async (error: unknown) => {
      await open.close(true);
      if (signal.aborted) await this.#leave(row, runtime);
      throw error;
    });
    this.inherits = false;
    if (!adopted) {
      await open.close();
      return null;
    }
    return await this.#follow({ row, runtime, open }, () => this.#serve({ row, runtime, open }, { adopted }, signal), signal);
  }

  /** Asked to end while it was being taken over. */
  async #leave(row: DeploymentRow, runtime: ModelRuntime): Promise<void> {
    this.inherits = false;
    this.#isReleased = this.#owner.isKept();
    if (!this.#isReleased) await endLeftOver(row, runtime, this.#deps, AbortSignal.timeout(leftOverLimitMs));
  }

  async #follow({ runtime, open }: Run, run: () => Promise<RunOutcome>, signal: AbortSignal): Promise<Next> {
    try {
      const outcome = await run();
      await open.endOutput();
      return await this.#decide(runtime, outcome, open);
    } finally {
      if (this.#isReleased) open.log.say('info', 'The service ends; the engine goes on.');
      else if (signal.aborted) open.log.say('info', `Ended: ${this.#owner.endReason()}.`);
      this.#live.lose(new StopReason('stopped'));
      await open.close(this.#isReleased);
    }
  }

  async #start(run: Run, signal: AbortSignal): Promise<RunOutcome> {
    let given: Awaited<ReturnType<SupervisorDeps['prepare']>>;
    try {
      given = await this.#deps.prepare(run.row, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (isAppError(error)) return failedStart(error.code, error.message);
      throw error;
    }
    return await this.#serve(run, { given }, signal);
  }

  async #serve({ row, runtime, open }: Run, from: Begin, signal: AbortSignal): Promise<RunOutcome> {
    const { clock, logger, startTimeoutMs, drainMs, generate } = this.#deps;
    const begin = 'adopted' in from ? from : { request: { deploymentId: row.id, name: row.name, config: row.config, ...from.given } };
    const policy = { health: healthPolicyOf(row.config, runtime), keepAliveMs: keepAliveMsOf(row.config) };
    const hooks = this.#hooks(row, open, 'adopted' in from);
    return await runEngine({ runtime, begin, generate, ...policy, startTimeoutMs, drainMs, open, clock, logger, usage: this.#live.usage, hooks, force: this.#owner.force }, signal);
  }

  #hooks(row: DeploymentRow, open: OpenLog, isAdopted: boolean): EngineRunHooks {
    const { repository, clock, onSettled } = this.#deps;
    return {
      onHandle: (handle) => repository.patch(this.#id, { handle }),
      onRunning: async (model) => {
        const { baseUrl: endpoint, handle, keepsake = null } = model;
        const access = { baseUrl: endpoint, model: model.model, headers: model.headers, contextSize: model.contextSize };
        const patch: StatePatch = { endpoint, handle, keepsake, access, error: null };
        if (isAdopted) await repository.patch(this.#id, patch);
        else await this.#owner.change('running', { ...patch, startedAt: clock.now() });
        open.log.say('info', isAdopted ? `Taken over at ${endpoint}.` : `Running at ${endpoint}.`);
        onSettled(this.#id);
        this.#live.come(model, row);
        if (isAdopted) this.#owner.publish('running');
      },
      onIdle: async (why) => {
        await this.#owner.unload(why);
      },
      isKept: () => this.#owner.isKept(),
      onReleased: () => {
        this.#isReleased = true;
      },
      onHealth: (health) => {
        const isNews = health.status !== this.#live.health.status;
        this.#live.health = health;
        if (isNews && this.#live.current) this.#owner.publish('running');
      },
      onUnhealthy: async (message) => {
        await this.#owner.change('unhealthy', {}, tellable(message));
      },
      onHealthyLong: () => repository.patch(this.#id, { recentFailures: [] }),
      onLost: (why) => this.#live.lose(why),
    };
  }

  async #decide(runtime: ModelRuntime, told: RunOutcome, open: OpenLog): Promise<Next> {
    const outcome = harmless(told);
    // A start that was asked for while it ran has been answered by its running; a later one counts.
    this.#owner.answered();
    const row = await this.#deps.repository.find(this.#id);
    // Another process has taken it over, because this one stood still for so long that it counted as dead.
    if (!row || row.instanceId !== this.#deps.instanceId) return { type: 'done' };
    const now = this.#deps.clock.now();
    const decision = decideRestart(restartPolicyOf(row.config, runtime), outcome, row.recentFailures, now);
    const { code, signal, reason } = outcome.exit;
    const patch: StatePatch = { ...nothingRuns, lastExit: { code, signal, reason, at: now.toISOString() }, error: outcome.error };
    open.log.say(outcome.clean ? 'info' : 'error', outcome.error.message);
    if (decision.action === 'end') {
      this.#owner.unwanted();
      await this.#owner.change('stopped', { ...patch, error: null, desiredStatus: 'stopped' }, outcome.error.message);
      return { type: 'done' };
    }
    if (outcome.error.code === 'MODEL_DOES_NOT_FIT' && keepAliveMsOf(row.config) !== null) {
      // Room may be there when the next request comes; those that wait now are told.
      this.#owner.unloaded(outcome.error.message);
      await this.#owner.change('stopped', patch, outcome.error.message);
      return { type: 'done' };
    }
    if (decision.action === 'fail') {
      open.log.say('error', 'It is not started again.');
      const message = failureMessage(outcome, decision.inWindow, open.log.lastLines(lastLinesTold));
      return await this.#fail({ code: outcome.error.code, message }, { ...patch, recentFailures: decision.failures });
    }
    open.log.say('info', decision.delayMs === 0 ? 'It is started again.' : `It is started again in ${decision.delayMs / 1000} s.`);
    await this.#owner.change('restarting', { ...patch, recentFailures: decision.failures, restarts: row.restarts + 1 }, outcome.error.message);
    return { type: 'wait', delayMs: decision.delayMs };
  }

  async #fail(error: StoredError, patch: StatePatch): Promise<Next> {
    await this.#owner.change('failed', { ...patch, error }, error.message);
    return { type: 'done' };
  }
}
