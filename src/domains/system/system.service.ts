import { abortable, createGate, type Gate } from '../../shared/async.ts';
import type { Clock } from '../../shared/clock.ts';
import { validationFailed } from '../../shared/errors.ts';
import type { EventBus } from '../../shared/event-bus.ts';
import type { Logger } from '../../shared/logger.ts';
import type { ResourcesSample } from '../../shared/resources-sample.ts';
import { SampleHistory } from './history.ts';
import type { Sampler } from './sampler.ts';
import type { System } from './types.ts';

export type SystemServiceDeps = { sampler: Sampler; events: EventBus; clock: Clock; logger: Logger };

const sampleEveryMs = 2_000;
/** While a reader wants them as often as that; a sample takes some 20 ms of work. */
const quickEveryMs = 1_000;
/** The same fault again and again is told once a minute. */
const faultToldEveryMs = 60_000;
const intervalMaxSeconds = 3600;

export class SystemService implements System {
  readonly #deps: SystemServiceDeps;
  readonly #history = new SampleHistory();
  readonly #end = new AbortController();
  #newest: ResourcesSample | null = null;
  #first: Promise<ResourcesSample> | null = null;
  #loop: Promise<void> = Promise.resolve();
  #faultToldAtMs = Number.NEGATIVE_INFINITY;
  #takenAtMs = Number.NEGATIVE_INFINITY;
  /** Readers that want a sample more often than it is taken for nobody. */
  #quickReaders = 0;
  #hurry = new AbortController();
  #sampled: Gate = createGate();

  constructor(deps: SystemServiceDeps) {
    this.#deps = deps;
  }

  async start(): Promise<void> {
    this.#deps.sampler.start();
    await this.#takeFirst().catch((error: unknown) => this.#tell(error));
    this.#loop = this.#run();
  }

  async stop(): Promise<void> {
    this.#end.abort();
    await this.#loop;
    this.#deps.sampler.stop();
  }

  async resources(signal: AbortSignal): Promise<ResourcesSample> {
    signal.throwIfAborted();
    return this.#newest ?? (await abortable(this.#takeFirst(), signal));
  }

  async *watch(intervalSeconds: number, signal: AbortSignal): AsyncIterable<ResourcesSample> {
    assertBetween('interval_seconds', intervalSeconds, intervalMaxSeconds);
    const isQuick = intervalSeconds * 1000 < sampleEveryMs;
    if (isQuick) this.#readersChange(1);
    try {
      yield* this.#paced(intervalSeconds * 1000, AbortSignal.any([signal, this.#end.signal]));
    } finally {
      if (isQuick) this.#readersChange(-1);
    }
  }

  /** Each reader paces itself and takes the newest sample, each of them once: one that is slow costs nothing. */
  async *#paced(intervalMs: number, ended: AbortSignal): AsyncIterable<ResourcesSample> {
    const isOver = (): boolean => ended.aborted;
    try {
      for (;;) {
        const sample = await this.resources(ended);
        yield sample;
        await this.#deps.clock.sleep(intervalMs, ended);
        while (this.#newest === sample) await abortable(this.#sampled.opened, ended);
      }
    } catch (error) {
      if (!isOver()) throw error;
    }
  }

  history(since: Date, resolutionSeconds: number): readonly ResourcesSample[] {
    assertBetween('resolution_seconds', resolutionSeconds, 86_400);
    return this.#history.since(since, resolutionSeconds);
  }

  async #run(): Promise<void> {
    const { signal } = this.#end;
    const isOver = (): boolean => signal.aborted;
    while (!isOver()) {
      try {
        await this.#untilDue(signal);
        await this.#take();
      } catch (error) {
        if (!isOver()) this.#tell(error);
      }
    }
  }

  async #untilDue(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    for (;;) {
      const everyMs = this.#quickReaders > 0 ? quickEveryMs : sampleEveryMs;
      const leftMs = this.#takenAtMs + everyMs - clock.monotonicMs();
      if (leftMs <= 0) return;
      const { signal: hurried } = this.#hurry;
      await clock.sleep(leftMs, AbortSignal.any([signal, hurried])).catch((error: unknown) => {
        if (!hurried.aborted || signal.aborted) throw error;
      });
    }
  }

  #readersChange(by: 1 | -1): void {
    this.#quickReaders += by;
    const before = this.#hurry;
    this.#hurry = new AbortController();
    before.abort();
  }

  #takeFirst(): Promise<ResourcesSample> {
    this.#first ??= this.#take().finally(() => (this.#first = null));
    return this.#first;
  }

  async #take(): Promise<ResourcesSample> {
    const sample = await this.#deps.sampler.sample().finally(() => (this.#takenAtMs = this.#deps.clock.monotonicMs()));
    this.#newest = sample;
    const gate = this.#sampled;
    this.#sampled = createGate();
    gate.open();
    this.#history.add(sample);
    this.#deps.events.publish('system.sampled', 'system', { sample });
    return sample;
  }

  #tell(error: unknown): void {
    const now = this.#deps.clock.monotonicMs();
    if (now - this.#faultToldAtMs < faultToldEveryMs) return;
    this.#faultToldAtMs = now;
    this.#deps.logger.warn({ err: error }, 'the use of resources could not be measured');
  }
}

function assertBetween(field: string, value: number, max: number): void {
  if (Number.isFinite(value) && value >= 1 && value <= max) return;
  throw validationFailed([{ field, message: `must be from 1 to ${max}` }]);
}
