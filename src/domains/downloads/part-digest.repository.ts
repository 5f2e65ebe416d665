import type { EntityManager } from '@mikro-orm/core';
import { FilePartDigests } from './part-digest.entity.ts';

const hexDigits = 64;
/** Far more large files than a disk holds. */
const manyMax = 100_000;

/** The only place that reads and writes the digests of files' parts. */
export class PartDigestRepository {
  readonly #em: () => EntityManager;

  constructor(em: EntityManager) {
    this.#em = () => em.fork();
  }

  async find(sha256: string): Promise<{ partBytes: number; digests: string[] } | null> {
    const row = await this.#em().findOne(FilePartDigests, { sha256 });
    return row && { partBytes: row.partBytes, digests: row.digests.match(new RegExp(`.{${hexDigits}}`, 'g')) ?? [] };
  }

  async save(sha256: string, partBytes: number, digests: readonly string[]): Promise<void> {
    await this.#em().upsert(FilePartDigests, { sha256, partBytes, digests: digests.join('') });
  }

  async remove(sha256s: readonly string[]): Promise<void> {
    if (sha256s.length > 0) await this.#em().nativeDelete(FilePartDigests, { sha256: { $in: [...sha256s] } });
  }

  async all(): Promise<string[]> {
    const rows = await this.#em().find(FilePartDigests, {}, { fields: ['sha256'], limit: manyMax });
    return rows.map(({ sha256 }) => sha256);
  }
}
