import { createGate, type Gate } from '../../shared/async.ts';
import type { Clock } from '../../shared/clock.ts';
import type { DeploymentUse } from '../../shared/resources-sample.ts';
import type { DeploymentRow } from './deployment.repository.ts';
import { unknownHealth } from './health.ts';
import type { RunningModel } from './runtime.ts';
import type { DeploymentHealth, DeploymentUseView } from './types.ts';
import { withTimeLimit } from './time-limit.ts';
import { Usage } from './usage.ts';

/** An engine that is up, and the signal that ends with it. */
export type LiveModel = { model: RunningModel; lost: AbortController; row: DeploymentRow };

const noUse: DeploymentUseView = { cpuPercent: null, memoryBytes: null, gpuMemoryBytes: null };
/** Figures younger than this are given again: many readers of a list must not ask an engine many times. */
const figuresMaxAgeMs = 1_000;
/** Docker needs two seconds for a figure of the processor; a daemon that hangs must not hold up whoever lists deployments. */
const useMsMax = 4_000;

/** What of a deployment is alive in this process: its engine, how it fares and who uses it. Nothing of it is stored. */
export class LiveEngine {
  readonly usage: Usage;
  health: DeploymentHealth = unknownHealth;
  readonly #clock: Clock;
  #current: LiveModel | null = null;
  #changed: Gate = createGate();
  #figures: { model: RunningModel; at: number; value: Promise<DeploymentUseView> } | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.usage = new Usage(clock);
  }

  get current(): LiveModel | null {
    return this.#current;
  }

  /** Opens with the next change of anything that whoever waits for an engine should look at. */
  get changed(): Promise<void> {
    return this.#changed.opened;
  }

  notify(): void {
    const gate = this.#changed;
    this.#changed = createGate();
    gate.open();
  }

  come(model: RunningModel, row: DeploymentRow): void {
    this.#current = { model, lost: new AbortController(), row };
    this.usage.loaded();
    this.notify();
  }

  /** From now on nobody gets an answer of it any more; nothing happens where it is lost already. */
  lose(why: Error): void {
    this.#current?.lost.abort(why);
    this.#current = null;
    this.#figures = null;
    this.notify();
  }

  async use(): Promise<DeploymentUseView> {
    const model = this.#current?.model;
    if (!model) return noUse;
    const at = this.#clock.monotonicMs();
    if (this.#figures?.model !== model || at - this.#figures.at >= figuresMaxAgeMs) this.#figures = { model, at, value: withTimeLimit(useMsMax, new AbortController().signal, () => model.use()).catch(() => noUse) };
    return await this.#figures.value;
  }

  /** Null while nothing runs. */
  async namedUse(): Promise<DeploymentUse | null> {
    const row = this.#current?.row;
    return row ? { deploymentId: row.id, name: row.name, ...(await this.use()) } : null;
  }
}
