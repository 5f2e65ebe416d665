import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { Database } from '../../../src/infrastructure/database/database.ts';
import { createPgliteOrm } from '../../../src/infrastructure/database/orm.ts';
import { PgBossQueue } from '../../../src/infrastructure/jobs/pg-boss-queue.ts';
import { StopReason } from '../../../src/shared/abort.ts';
import { createGate } from '../../../src/shared/async.ts';
import { newId } from '../../../src/shared/ids.ts';
import type { JobHandler } from '../../../src/shared/job-queue.ts';
import { startChildProgram } from '../../support/child-program.ts';
import { createTestDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { silentLogger } from '../../support/silent-logger.ts';

type Store = { access: Database['access']; close(): Promise<void> };
const stores: Record<string, () => Promise<Store>> = {
  PostgreSQL: async () => {
    const database = await createTestDatabase();
    return { access: { type: 'url', url: database.url }, close: () => database.drop() };
  },
  PGlite: async () => {
    const orm = await createPgliteOrm(null, { entities: [], migrations: [], logger: silentLogger });
    const connection = orm.em.getConnection() as unknown as { getNativeClient(): Promise<never> };
    return { access: { type: 'pglite', client: await connection.getNativeClient() }, close: () => orm.close(true) };
  },
};

let started: PgBossQueue[] = [];
async function startQueue(access: Database['access'], soleWorker = false): Promise<PgBossQueue> {
  const queue = new PgBossQueue({ database: access, logger: silentLogger, soleWorker });
  started.push(queue);
  await queue.start();
  return queue;
}
afterEach(async () => {
  await Promise.all(started.map((queue) => queue.stop(AbortSignal.timeout(5_000))));
  started = [];
});

const untilAborted: JobHandler = async (_job, signal) => {
  if (!signal.aborted) await once(signal, 'abort');
  signal.throwIfAborted();
};

describe.each(Object.keys(stores))('the job queue on %s', (kind) => {
  let store: Store;
  beforeAll(async () => {
    store = await stores[kind]!();
  });
  afterAll(() => store.close());

  it('runs one job per subject while one waits or runs, and a new one after it has ended', async () => {
    const queue = await startQueue(store.access);
    const subject = newId();
    const gate = createGate();
    const runs: string[] = [];
    await queue.enqueue('single', subject);
    await queue.enqueue('single', subject);
    await queue.work('single', 3, async (job) => {
      runs.push(job.subjectId);
      await gate.opened;
    });
    await eventually('the first run', () => runs.length === 1);
    await queue.enqueue('single', subject);
    const other = newId();
    await queue.enqueue('single', other);
    await eventually('the other subject', () => runs.includes(other));
    expect(runs).toEqual([subject, other]);
    gate.open();
    await eventually('a run after the first has ended', async () => {
      await queue.enqueue('single', subject);
      // A run that is over makes room for the next one: there may be several before this looks again.
      return runs.length >= 3;
    });
  });

  it('runs a job again when its handler fails, and counts the attempts', async () => {
    const queue = await startQueue(store.access);
    const attempts: number[] = [];
    await queue.work('failing', 1, async (job) => {
      attempts.push(job.attempt);
      if (attempts.length < 2) throw new Error('a fault of this test');
    });
    await queue.enqueue('failing', newId());
    await eventually('the second attempt', () => attempts.length === 2);
    expect(attempts).toEqual([1, 2]);
  });

  it('aborts a running job of this process at once with the very reason, and does not run it again', async () => {
    const queue = await startQueue(store.access);
    const subject = newId();
    const seen: unknown[] = [];
    let runs = 0;
    await queue.work('cancelling', 1, async (job, signal) => {
      runs += 1;
      if (job.subjectId !== subject) return;
      if (!signal.aborted) await once(signal, 'abort');
      seen.push(signal.reason);
      signal.throwIfAborted();
    });
    await queue.enqueue('cancelling', subject);
    await eventually('the run', () => runs === 1);
    const reason = new StopReason('paused');
    await queue.cancel('cancelling', subject, reason);
    await eventually('the abort', () => seen.length === 1);
    expect(seen[0]).toBe(reason);

    // Another subject's job passes the same single worker, so a second run of the first would have come before.
    await queue.enqueue('cancelling', newId());
    await eventually('the next job', () => runs === 2);
  });

  it('takes a waiting job out', async () => {
    const queue = await startQueue(store.access);
    const [unwanted, wanted] = [newId(), newId()];
    await queue.enqueue('waiting', unwanted);
    await queue.enqueue('waiting', wanted);
    await queue.cancel('waiting', unwanted, new StopReason('cancelled'));
    const runs: string[] = [];
    await queue.work('waiting', 1, async (job) => void runs.push(job.subjectId));
    await eventually('the wanted job', () => runs.length === 1);
    expect(runs).toEqual([wanted]);
  });

  it('gives jobs of higher priority to a worker first', async () => {
    const queue = await startQueue(store.access);
    const [low, high] = [newId(), newId()];
    await queue.enqueue('ordered', low, { priority: 1 });
    await queue.enqueue('ordered', high, { priority: 9 });
    const runs: string[] = [];
    await queue.work('ordered', 1, async (job) => void runs.push(job.subjectId));
    await eventually('two runs', () => runs.length === 2);
    expect(runs).toEqual([high, low]);
  });

  it('drains a backlog that is larger than its workers', async () => {
    const queue = await startQueue(store.access);
    const subjects = Array.from({ length: 12 }, newId);
    for (const subject of subjects) await queue.enqueue('backlog', subject);
    const runs: string[] = [];
    await queue.work('backlog', 4, async (job) => void runs.push(job.subjectId));
    await eventually('twelve runs', () => runs.length === 12);
    expect(runs.toSorted()).toEqual(subjects.toSorted());
  });

  it('aborts running jobs when it stops, and leaves them for the next start', async () => {
    const first = await startQueue(store.access);
    const subject = newId();
    const causes: unknown[] = [];
    const gate = createGate();
    await first.work('stopping', 1, async (job, signal) => {
      gate.open();
      await untilAborted(job, signal).catch((error: unknown) => {
        causes.push(error);
        throw error;
      });
    });
    await first.enqueue('stopping', subject);
    await gate.opened;
    await first.stop(AbortSignal.timeout(5_000));
    expect(causes).toEqual([new StopReason('shutdown')]);

    const second = await startQueue(store.access);
    const again: string[] = [];
    await second.work('stopping', 1, async (job) => void again.push(job.subjectId));
    await eventually('the run after the restart', () => again.length === 1);
    expect(again).toEqual([subject]);
  });
});

describe('the job queue over several processes', () => {
  const program = join(process.cwd(), 'test', 'support', 'programs', 'job-worker.ts');
  let store: Store;
  let url: string;
  beforeAll(async () => {
    store = await stores['PostgreSQL']!();
    url = store.access.type === 'url' ? store.access.url : '';
  });
  afterAll(() => store.close());

  it('tells the process that runs a job why another one stopped it', async () => {
    const queue = await startQueue(store.access);
    const subject = newId();
    await queue.enqueue('remote', subject);
    const child = startChildProgram(program, [url, 'remote']);
    expect(await child.nextLine()).toEqual({ ready: true });
    expect(await child.nextLine()).toEqual({ began: subject, attempt: 1 });
    await queue.cancel('remote', subject, new StopReason('paused'));
    expect(await child.nextLine()).toEqual({ ended: subject, cause: 'paused' });
    await child.kill('SIGKILL');
  });

  it('hands the job of a killed process to another within 15 s', async () => {
    const queue = await startQueue(store.access);
    const subject = newId();
    await queue.enqueue('killed', subject);
    const child = startChildProgram(program, [url, 'killed']);
    expect(await child.nextLine()).toEqual({ ready: true });
    expect(await child.nextLine()).toEqual({ began: subject, attempt: 1 });
    await child.kill('SIGKILL');
    const taken: string[] = [];
    await queue.work('killed', 1, async (job) => void taken.push(job.subjectId));
    await eventually('the take-over', () => taken.length === 1, 15_000);
    expect(taken).toEqual([subject]);
  });

  it('takes a killed process up at once where only one process works', async () => {
    const before = await startQueue(store.access);
    const subject = newId();
    await before.enqueue('sole', subject);
    const child = startChildProgram(program, [url, 'sole']);
    expect(await child.nextLine()).toEqual({ ready: true });
    expect(await child.nextLine()).toEqual({ began: subject, attempt: 1 });
    await child.kill('SIGKILL');
    const next = await startQueue(store.access, true);
    const taken: string[] = [];
    await next.work('sole', 1, async (job) => void taken.push(job.subjectId));
    // Well below the 10 s that a heartbeat lasts.
    await eventually('the take-over', () => taken.length === 1, 6_000);
  });
});
