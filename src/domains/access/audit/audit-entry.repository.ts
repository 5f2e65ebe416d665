import type { SqlEntityManager } from '@mikro-orm/sql';
import { isId } from '../../../shared/ids.ts';
import type { Page, PageRequest } from '../../../shared/paging.ts';
import { readRow, readRowPage, readRows, type Condition } from '../../../shared/persistence/read-rows.repository.ts';
import { insertOf, runTogether } from '../../../shared/persistence/write-rows.repository.ts';
import { AuditEntry } from './audit-entry.entity.ts';
import type { AuditFilter } from './types.ts';

export type AuditRow = Pick<
  AuditEntry,
  'id' | 'at' | 'actorKeyId' | 'actorOwner' | 'actorName' | 'actorRole' | 'action' | 'targetKind' | 'targetId' | 'outcome' | 'errorCode' | 'count' | 'requestId' | 'peerAddress'
>;

const listName = 'audit';

/** Rows of the audit log; they are only ever added and, when they are old, removed. */
export class AuditEntryRepository {
  readonly #em: SqlEntityManager;

  constructor(em: SqlEntityManager) {
    this.#em = em;
  }

  async insert(rows: readonly [AuditRow, ...AuditRow[]]): Promise<void> {
    const em = this.#em.fork();
    const { text, values } = insertOf(em, AuditEntry, rows);
    // It may be there already: the answer to an earlier try got lost.
    await runTogether(em, [{ text: `${text} on conflict do nothing`, values }]);
  }

  async list({ actor, action, target, since, until }: AuditFilter, page: PageRequest): Promise<Page<AuditRow>> {
    const isGroup = action !== undefined && !action.includes('.');
    const matching = [
      actor !== undefined && isId(actor) ? ['actor_key_id = ?', actor] : ['actor_owner = ?', actor],
      isGroup ? ['action like ?', `${action.replaceAll('_', '\\_')}.%`] : ['action = ?', action],
      ['(target_id = ? or target_kind = ?)', target, target],
      ['at >= ?', since],
      ['at < ?', until],
    ] as const satisfies readonly Condition[];
    return await readRowPage(this.#em.fork(), AuditEntry, { list: listName, page, matching });
  }

  async find(id: string): Promise<AuditRow | null> {
    return isId(id) ? await readRow(this.#em.fork(), AuditEntry, [['id = ?', id]]) : null;
  }

  /** Oldest first. */
  async after(id: string | null, limit: number): Promise<AuditRow[]> {
    const em = this.#em.fork();
    return id === null ? await readRows(em, AuditEntry, 'order by id limit ?', [limit]) : await readRows(em, AuditEntry, 'where id > ? order by id limit ?', [id, limit]);
  }

  async newestId(): Promise<string | null> {
    const [newest] = await readRows(this.#em.fork(), AuditEntry, 'order by id desc limit 1', []);
    return newest?.id ?? null;
  }

  /**
   * Removes what is from before `before`, and the oldest beyond `succeededMax` and `othersMax`; answers how many. What
   * did not succeed has a bound of its own: whoever is refused again and again does not push out what was done.
   */
  async purge({ before, succeededMax, othersMax }: { before: Date; succeededMax: number; othersMax: number }): Promise<number> {
    const em = this.#em.fork();
    const old = await em.nativeDelete(AuditEntry, { at: { $lt: before } });
    const beyond = async (succeeded: boolean, max: number): Promise<number> => {
      const outcome = succeeded ? "outcome = 'succeeded'" : "outcome <> 'succeeded'";
      const [last] = await readRows(em, AuditEntry, `where ${outcome} order by id desc limit 1 offset ?`, [max]);
      return last ? await em.nativeDelete(AuditEntry, { id: { $lte: last.id }, outcome: succeeded ? 'succeeded' : { $ne: 'succeeded' } }) : 0;
    };
    return old + (await beyond(true, succeededMax)) + (await beyond(false, othersMax));
  }
}
