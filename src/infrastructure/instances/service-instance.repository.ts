import type { SqlEntityManager } from '@mikro-orm/sql';

export type NewInstance = { id: string; host: string; machine: string; pid: number; processStart: string };
export type InstanceRow = NewInstance & { startedAt: Date; /** By its heartbeat alone. */ isBeating: boolean };

type SqlRow = { id: string; host: string; machine: string; pid: number; process_start: string; started_at: string | Date; is_beating: boolean };

/** Rows of service processes. All times are the database's, so that clocks of several machines need not agree. */
export class ServiceInstanceRepository {
  readonly #em: SqlEntityManager;

  constructor(em: SqlEntityManager) {
    this.#em = em;
  }

  /** The same for everybody who works on this database, made by whoever asks first. */
  async installationId(candidate: string): Promise<string> {
    const em = this.#em.fork();
    await em.execute('insert into installation (id, uid) values (1, ?) on conflict (id) do nothing', [candidate]);
    const [row] = await em.execute<{ uid: string }[]>('select uid from installation where id = 1');
    return row?.uid ?? candidate;
  }

  async beat({ id, host, machine, pid, processStart }: NewInstance): Promise<void> {
    await this.#em.fork().execute(
      `insert into service_instances (id, host, machine, pid, process_start, started_at, heartbeat_at)
       values (?, ?, ?, ?, ?, clock_timestamp(), clock_timestamp())
       on conflict (id) do update set heartbeat_at = clock_timestamp()`,
      [id, host, machine, pid, processStart],
    );
  }

  /** `deadAfterMs` without a beat count as no sign of life. */
  async list(deadAfterMs: number): Promise<InstanceRow[]> {
    const rows = await this.#em.fork().execute<SqlRow[]>(
      `select id, host, machine, pid, process_start, started_at, heartbeat_at > clock_timestamp() - ? * interval '1 millisecond' as is_beating
       from service_instances order by started_at, id`,
      [deadAfterMs],
    );
    return rows.map(({ process_start: processStart, started_at: startedAt, is_beating: isBeating, ...row }) => ({ ...row, processStart, startedAt: new Date(startedAt), isBeating }));
  }

  async remove(id: string): Promise<void> {
    await this.#em.fork().execute('delete from service_instances where id = ?', [id]);
  }

  async forgetOlderThan(ageMs: number): Promise<void> {
    await this.#em.fork().execute(`delete from service_instances where heartbeat_at < clock_timestamp() - ? * interval '1 millisecond'`, [ageMs]);
  }
}
