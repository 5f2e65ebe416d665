import type { ResourcesSample } from '../../shared/resources-sample.ts';

/** Ten minutes of every sample (five while they are taken each second), then one each half minute for the rest of six hours: about 1,000 samples in all. */
const newestKept = 300;
const olderEveryMs = 30_000;
const keptForMs = 6 * 3_600_000;

/** The last hours in memory, oldest first, thinner the older they are. */
export class SampleHistory {
  #newest: ResourcesSample[] = [];
  #older: ResourcesSample[] = [];

  add(sample: ResourcesSample): void {
    this.#newest.push(sample);
    const leaving = this.#newest.length > newestKept ? this.#newest.shift() : undefined;
    if (leaving) this.#keepOlder(leaving);
    const horizon = timeOf(sample) - keptForMs;
    while (this.#older[0] && timeOf(this.#older[0]) < horizon) this.#older.shift();
  }

  /** The first sample of each `resolutionSeconds` from `since` on. */
  since(since: Date, resolutionSeconds: number): ResourcesSample[] {
    const picked: ResourcesSample[] = [];
    let nextMs = since.getTime();
    for (const sample of [...this.#older, ...this.#newest]) {
      if (timeOf(sample) < nextMs) continue;
      picked.push(sample);
      nextMs = timeOf(sample) + resolutionSeconds * 1000;
    }
    return picked;
  }

  #keepOlder(sample: ResourcesSample): void {
    const last = this.#older.at(-1);
    if (!last || timeOf(sample) - timeOf(last) >= olderEveryMs) this.#older.push(sample);
  }
}

function timeOf(sample: ResourcesSample): number {
  return Date.parse(sample.collectedAt);
}
