import { PgBoss, fromPglite } from 'pg-boss';
import type { Job } from 'pg-boss';
import { StopReason, stopCauseOf } from '../../shared/abort.ts';
import type { StopCause } from '../../shared/abort.ts';
import { abortable, KeyedMutex } from '../../shared/async.ts';
import type { EnqueueOptions, JobHandler, JobQueue } from '../../shared/job-queue.ts';
import type { Logger } from '../../shared/logger.ts';
import type { Database } from '../database/database.ts';

export type PgBossQueueOptions = {
  database: Database['access'];
  logger: Logger;
  /**
   * True when this process is the only one that works (the data folder's lock says so): jobs that a killed
   * predecessor left active are then taken up at once rather than after their heartbeat has run out.
   */
  soleWorker: boolean;
};

type JobData = { subjectId: string };
type ActiveJob = { subjectId: string; controller: AbortController; ended: Promise<void> };

/** Of the pool of the queue alone; handlers use the service's own. */
const connectionsMax = 6;
const queueDefaults = {
  // At most one waiting or running job per singleton key.
  policy: 'exclusive',
  notify: true,
  // The shortest that pg-boss takes. With checks every second, a killed worker's job is back within 15 s.
  heartbeatSeconds: 10,
  // Its highest: downloads may take a day, and one that is cut off resumes where it was.
  expireInSeconds: 24 * 60 * 60,
  // Handlers keep account of their own attempts; what reaches the queue is a crash or a fault of ours, which must
  // never use up a job's life.
  retryLimit: 1_000_000,
  retryDelay: 1,
  retryBackoff: true,
  retryDelayMax: 3,
  deleteAfterSeconds: 60 * 60,
} as const;
const workDefaults = {
  heartbeatRefreshSeconds: 1,
  // A waiting job is announced, so polling is the safety net; but each announcement wakes a worker for one job
  // only, and a backlog drains by polling.
  pollingIntervalSeconds: 0.5,
  notifyPollingIntervalSeconds: 0.5,
} as const;
/** What pg-boss itself gets to end with, after our handlers have. */
const stopTimeoutMs = 2_000;

/** The durable queue on pg-boss, in the same database as everything else. */
export class PgBossQueue implements JobQueue {
  readonly #boss: PgBoss;
  readonly #logger: Logger;
  readonly #soleWorker: boolean;
  readonly #queues = new Map<string, Promise<void>>();
  readonly #active = new Map<string, ActiveJob>();
  readonly #subjects = new KeyedMutex();
  #stopping = false;

  constructor(options: PgBossQueueOptions) {
    const { database } = options;
    this.#logger = options.logger.child({ room: 'jobs' });
    this.#soleWorker = options.soleWorker;
    this.#boss = new PgBoss({
      ...(database.type === 'url' ? { connectionString: database.url, max: connectionsMax } : { db: fromPglite(database.client), backend: 'pglite' }),
      application_name: 'llm-manager jobs',
      useListenNotify: true,
      superviseIntervalSeconds: 1,
      monitorIntervalSeconds: 1,
      schedule: false,
      registerInstance: false,
    });
    this.#boss.on('error', (error) => this.#logger.warn({ error }, 'the job queue met a fault and goes on'));
    this.#boss.on('warning', (warning) => this.#logger.debug({ warning }, 'the job queue warns'));
  }

  async start(): Promise<void> {
    await this.#boss.start();
  }

  async ping(signal: AbortSignal): Promise<void> {
    if (!(await abortable(this.#boss.isInstalled(), signal))) throw new Error('the tables of the job queue are not there');
  }

  async enqueue(queue: string, subjectId: string, { priority, startAfterSeconds, group }: EnqueueOptions = {}): Promise<void> {
    await this.#ensureQueue(queue);
    await this.#boss.send(queue, { subjectId } satisfies JobData, {
      singletonKey: subjectId,
      ...(priority === undefined ? {} : { priority }),
      ...(startAfterSeconds === undefined ? {} : { startAfter: startAfterSeconds }),
      ...(group === undefined ? {} : { group: { id: group } }),
    });
  }

  async cancel(queue: string, subjectId: string, reason: Error): Promise<void> {
    await this.#ensureQueue(queue);
    // Whoever runs it in this process learns of it now; another process by its next heartbeat.
    for (const [id, job] of this.#active) {
      if (job.subjectId === subjectId && id.startsWith(`${queue}/`)) job.controller.abort(reason);
    }
    const found = await this.#boss.findJobs<JobData>(queue, { key: subjectId });
    const ids = found.filter((job) => ['created', 'retry', 'active'].includes(job.state)).map((job) => job.id);
    if (ids.length === 0) return;
    await this.#noteCause(queue, ids, stopCauseOf(reason) ?? 'cancelled');
    await this.#boss.cancel(queue, ids);
  }

  async work(queue: string, concurrency: number, handler: JobHandler, { perGroup = null }: { perGroup?: number | null } = {}): Promise<void> {
    await this.#ensureQueue(queue);
    if (this.#soleWorker) await this.#takeBackActive(queue);
    await this.#boss.work<JobData>(queue, { ...workDefaults, localConcurrency: concurrency, batchSize: 1, ...(perGroup === null ? {} : { localGroupConcurrency: Math.min(perGroup, concurrency) }) }, async (jobs: Job<JobData>[]) => {
      for (const job of jobs) await this.#subjects.run(`${queue}/${job.data.subjectId}`, () => this.#run(queue, job, handler));
    });
  }

  async stop(signal: AbortSignal): Promise<void> {
    this.#stopping = true;
    const reason = new StopReason('shutdown');
    for (const job of this.#active.values()) job.controller.abort(reason);
    const ended = Promise.all([...this.#active.values()].map((job) => job.ended));
    await abortable(ended, signal).catch(() => this.#logger.warn({ jobs: this.#active.size }, 'some jobs did not end in time; they run again later'));
    await this.#boss.stop({ graceful: true, close: true, timeout: stopTimeoutMs });
  }

  /** Runs one job. Resolving takes it out of the queue, rejecting puts it back. */
  async #run(queue: string, job: Job<JobData>, handler: JobHandler): Promise<void> {
    const { subjectId } = job.data;
    const controller = new AbortController();
    const { promise: ended, resolve: end } = Promise.withResolvers<undefined>();
    const key = `${queue}/${job.id}`;
    this.#active.set(key, { subjectId, controller, ended: ended.then(() => undefined) });
    const onClaimLost = (): void => void this.#abortWithCause(queue, job.id, controller);
    if (job.signal.aborted) onClaimLost();
    else job.signal.addEventListener('abort', onClaimLost, { once: true });
    try {
      if (this.#stopping) throw new StopReason('shutdown');
      await handler({ id: job.id, subjectId, attempt: job.retryCount + 1 }, controller.signal);
      // A handler that gave way to the shutdown without throwing is not done either.
      if (stopCauseOf(controller.signal.reason) === 'shutdown') throw new StopReason('shutdown');
    } catch (error) {
      const cause = stopCauseOf(controller.signal.aborted ? controller.signal.reason : error);
      if (cause !== undefined && cause !== 'shutdown') return;
      if (cause === undefined) this.#logger.error({ queue, subjectId, attempt: job.retryCount + 1, error }, 'a job failed and will run again');
      throw error;
    } finally {
      job.signal.removeEventListener('abort', onClaimLost);
      this.#active.delete(key);
      end(undefined);
    }
  }

  /** The database no longer counts this job as ours: cancelled elsewhere (the row says why), or given to another. */
  async #abortWithCause(queue: string, id: string, controller: AbortController): Promise<void> {
    let cause: StopCause = 'superseded';
    try {
      const [row] = await this.#boss.findJobs<JobData>(queue, { id });
      const noted = (row?.output as { stopCause?: StopCause } | null)?.stopCause;
      if (row?.state === 'cancelled') cause = noted ?? 'cancelled';
    } catch (error) {
      this.#logger.warn({ queue, id, error }, 'why a job was stopped could not be read');
    }
    controller.abort(new StopReason(cause));
  }

  /** Kept in the job's own row, where the process that runs it finds it when its claim is gone. */
  async #noteCause(queue: string, ids: readonly string[], cause: StopCause): Promise<void> {
    const sql = "update pgboss.job set output = $3::jsonb where name = $1 and id = any($2::uuid[]) and state <= 'active'";
    await this.#boss.getDb().executeSql(sql, [queue, ids, JSON.stringify({ stopCause: cause })]);
  }

  async #takeBackActive(queue: string): Promise<void> {
    const sql = "select id from pgboss.job where name = $1 and state = 'active'";
    const { rows } = await this.#boss.getDb().executeSql(sql, [queue]);
    if (rows.length > 0) await this.#boss.fail(queue, rows.map((row: { id: string }) => row.id), { message: 'its worker is gone' });
  }

  async #ensureQueue(queue: string): Promise<void> {
    let ready = this.#queues.get(queue);
    if (!ready) {
      ready = this.#createQueue(queue);
      this.#queues.set(queue, ready);
      ready.catch(() => this.#queues.delete(queue));
    }
    await ready;
  }

  async #createQueue(queue: string): Promise<void> {
    await this.#boss.createQueue(queue, queueDefaults);
    // One that an earlier version made keeps its old figures otherwise.
    const { policy: _policy, ...settings } = queueDefaults;
    await this.#boss.updateQueue(queue, settings);
  }
}
