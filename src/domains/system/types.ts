import type { ResourcesSample } from '../../shared/resources-sample.ts';

/** Use cases of system figures; `SystemService` implements it. */
export type System = {
  /** The newest sample; taken every 2 s, so it is never older than that. */
  resources(signal: AbortSignal): Promise<ResourcesSample>;
  /** The present one, then one each `intervalSeconds` (1..3600). */
  watch(intervalSeconds: number, signal: AbortSignal): AsyncIterable<ResourcesSample>;
  /** Oldest first, thinned out to `resolutionSeconds`; kept in memory for the last hours. */
  history(since: Date, resolutionSeconds: number): readonly ResourcesSample[];
};
