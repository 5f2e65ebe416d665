import { StopReason } from '../../../shared/abort.ts';
import type { Clock } from '../../../shared/clock.ts';
import type { EventBus } from '../../../shared/event-bus.ts';
import type { Logger } from '../../../shared/logger.ts';
import type { AuditEntryRepository, AuditRow } from './audit-entry.repository.ts';

export type AuditWriterDeps = { repository: Pick<AuditEntryRepository, 'insert'>; events: EventBus; clock: Clock; logger: Logger };

type Waiting = { row: AuditRow; stored: () => void };

/** What waits for a database that is away; beyond it entries go to the log. */
const waitingMax = 2_000;
const rowsAtOnce = 100;
const retryEveryMs = 1_000;
/** For what waits when the service is told to end. */
const triesMax = 60;
const triesWhenStopping = 3;

/**
 * Stores entries in the order in which they came, all that have come meanwhile with one statement, and then tells those
 * who follow the log. What the database does not take within a minute is told in the log of the service, whole.
 */
export class AuditWriter {
  readonly #deps: AuditWriterDeps;
  readonly #waiting: Waiting[] = [];
  readonly #stopping = new AbortController();
  #running: Promise<void> | null = null;

  constructor(deps: AuditWriterDeps) {
    this.#deps = deps;
  }

  /** Resolves when the entry is stored, or given up. Never rejects. */
  async add(row: AuditRow): Promise<void> {
    if (this.#waiting.length >= waitingMax) {
      this.#giveUp([row], 'too many entries wait for the database');
      return;
    }
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#waiting.push({ row, stored: () => resolve(undefined) });
    this.#running ??= this.#run();
    await promise;
  }

  /** Stores what waits, as far as the database takes it. */
  async stop(): Promise<void> {
    this.#stopping.abort(new StopReason('shutdown'));
    await this.#running;
  }

  async #run(): Promise<void> {
    // What is recorded in the same moment goes together.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, rowsAtOnce);
      const rows = batch.map(({ row }) => row);
      if (await this.#store(rows)) for (const row of rows) this.#tell(row);
      for (const { stored } of batch) stored();
    }
    this.#running = null;
  }

  async #store(rows: readonly AuditRow[]): Promise<boolean> {
    const [first, ...more] = rows;
    if (!first) return true;
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#deps.repository.insert([first, ...more]);
        return true;
      } catch (err) {
        if (attempt >= (this.#stopping.signal.aborted ? triesWhenStopping : triesMax)) {
          this.#giveUp(rows, 'the database does not take entries of the audit log', err);
          return false;
        }
        // A stop ends the wait, not the tries.
        await this.#deps.clock.sleep(retryEveryMs, this.#stopping.signal.aborted ? undefined : this.#stopping.signal).catch(() => undefined);
      }
    }
  }

  #tell(row: AuditRow): void {
    this.#deps.events.publish('audit.logged', row.id, { entry: { ...row, at: row.at.toISOString() } });
  }

  #giveUp(rows: readonly AuditRow[], why: string, err?: unknown): void {
    for (const entry of rows) this.#deps.logger.error({ entry, ...(err === undefined ? {} : { err }) }, `${why}; here it is instead`);
  }
}
