import type { EntityManager } from '@mikro-orm/core';
import type { Clock } from '../../shared/clock.ts';
import { DownloadSpeedLimit } from './speed-limit.entity.ts';

const id = 'all';

/** The only place that reads and writes the stored limit over all downloads. */
export class SpeedLimitRepository {
  readonly #em: () => EntityManager;
  readonly #clock: Clock;
  readonly #configured: number | null;

  /** `configured`: what holds as long as nobody has chosen another one; bytes per second, null = no limit. */
  constructor(options: { em: EntityManager; clock: Clock; configured: number | null }) {
    const { em, clock, configured } = options;
    this.#em = () => em.fork();
    this.#clock = clock;
    this.#configured = configured;
  }

  /** The limit that holds now. */
  async read(): Promise<number | null> {
    const row = await this.#em().findOne(DownloadSpeedLimit, { id });
    const isChosen = row !== null && (row.configuredBytesPerSecond ?? null) === this.#configured;
    return isChosen ? (row.maxBytesPerSecond ?? null) : this.#configured;
  }

  async save(maxBytesPerSecond: number | null): Promise<void> {
    await this.#em().upsert(DownloadSpeedLimit, { id, maxBytesPerSecond, configuredBytesPerSecond: this.#configured, changedAt: this.#clock.now() });
  }
}
