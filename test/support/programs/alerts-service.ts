/** Watches deployments of one database, and tells of alerts by a channel that never answers; prints a line when it was asked. */
import { createAlerts } from '../../../src/domains/system/alerts/create-alerts.ts';
import { entities } from '../../../src/infrastructure/database/entities.ts';
import { createPostgresOrm } from '../../../src/infrastructure/database/orm.ts';
import { InProcessEventBus } from '../../../src/infrastructure/events/in-process-event-bus.ts';
import { PgBossQueue } from '../../../src/infrastructure/jobs/pg-boss-queue.ts';
import { systemClock } from '../../../src/infrastructure/system-clock.ts';
import { resourcesRow } from '../domain-doubles/rows.ts';
import { Society } from '../instances.ts';
import { plainHttp } from '../plain-http.ts';
import { silentLogger } from '../silent-logger.ts';

const [url = '', deploymentId = ''] = process.argv.slice(2);
const deployment = { id: deploymentId, name: 'smol', status: 'failed' };
const orm = await createPostgresOrm(url, { entities, migrations: [], logger: silentLogger });
const jobs = new PgBossQueue({ database: { type: 'url', url }, logger: silentLogger, soleWorker: false });
await jobs.start();
const room = createAlerts({
  em: orm.em,
  events: new InProcessEventBus({ clock: systemClock }),
  jobs,
  clock: systemClock,
  logger: silentLogger,
  instances: new Society().join(),
  http: plainHttp,
  system: { resources: () => Promise.resolve(resourcesRow()) },
  deployments: { find: () => Promise.resolve(deployment), list: () => Promise.resolve({ items: [deployment], nextCursor: null, total: 1 }) },
  downloads: { find: () => Promise.resolve(null), list: () => Promise.resolve({ items: [], nextCursor: null, total: 0 }) },
  webhook: null,
  channels: [
    {
      id: 'recording',
      name: 'Recording',
      deliver: ({ deliveryId }) => {
        process.stdout.write(`${JSON.stringify({ deliveryId })}\n`);
        return new Promise<never>(() => undefined);
      },
    },
  ],
});
await room.start();
