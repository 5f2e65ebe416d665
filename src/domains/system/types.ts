import type { ResourcesSample } from '../../shared/resources-sample.ts';

/** Use cases of system figures; `SystemService` implements it. */
export type System = {
  /** The newest sample; taken every 2 s, and every second while a watcher wants that, so it is hardly older. */
  resources(signal: AbortSignal): Promise<ResourcesSample>;
  /** The present one, then a newer one each `intervalSeconds` (1..3600). */
  watch(intervalSeconds: number, signal: AbortSignal): AsyncIterable<ResourcesSample>;
  /** Oldest first, thinned out to `resolutionSeconds`; kept in memory for the last hours. */
  history(since: Date, resolutionSeconds: number): readonly ResourcesSample[];
};
