import type { EntityManager } from '@mikro-orm/core';
import { FilePartDigests } from './part-digest.entity.ts';

const hexDigits = 64;

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
}
