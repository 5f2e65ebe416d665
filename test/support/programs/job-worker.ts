/** Works on one queue of a database until it is killed; prints each job's begin and end as a JSON line. */
import { once } from 'node:events';
import { stopCauseOf } from '../../../src/shared/abort.ts';
import { PgBossQueue } from '../../../src/infrastructure/jobs/pg-boss-queue.ts';
import { silentLogger } from '../silent-logger.ts';

const [url = '', queueName = ''] = process.argv.slice(2);
const say = (line: Record<string, unknown>): void => {
  process.stdout.write(`${JSON.stringify(line)}\n`);
};
const queue = new PgBossQueue({ database: { type: 'url', url }, logger: silentLogger, soleWorker: false });
await queue.start();
await queue.work(queueName, 2, async (job, signal) => {
  say({ began: job.subjectId, attempt: job.attempt });
  if (!signal.aborted) await once(signal, 'abort');
  say({ ended: job.subjectId, cause: stopCauseOf(signal.reason) });
  signal.throwIfAborted();
});
say({ ready: true });
