import { abortable } from '../../shared/async.ts';
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
    // Each reader paces itself and takes the newest sample: one that is slow costs nothing.
    while (!signal.aborted && !this.#end.signal.aborted) {
      yield await this.resources(signal);
      const either = AbortSignal.any([signal, this.#end.signal]);
      await this.#deps.clock.sleep(intervalSeconds * 1000, either).catch((error: unknown) => {
        if (!either.aborted) throw error;
      });
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
        await this.#deps.clock.sleep(sampleEveryMs, signal);
        await this.#take();
      } catch (error) {
        if (!isOver()) this.#tell(error);
      }
    }
  }

  #takeFirst(): Promise<ResourcesSample> {
    this.#first ??= this.#take().finally(() => (this.#first = null));
    return this.#first;
  }

  async #take(): Promise<ResourcesSample> {
    const sample = await this.#deps.sampler.sample();
    this.#newest = sample;
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
