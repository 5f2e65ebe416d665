/** Registers as a service process on one database until it is told to end; prints its id as a JSON line. */
import { createPostgresOrm } from '../../../src/infrastructure/database/orm.ts';
import { entities } from '../../../src/infrastructure/database/entities.ts';
import { InstanceRegistry } from '../../../src/infrastructure/instances/instance-registry.ts';
import { systemClock } from '../../../src/infrastructure/system-clock.ts';
import { silentLogger } from '../silent-logger.ts';

const [url = '', deadAfterMs = ''] = process.argv.slice(2);
const orm = await createPostgresOrm(url, { entities, migrations: [], logger: silentLogger });
const registry = await InstanceRegistry.register({ em: orm.em, clock: systemClock, logger: silentLogger, isSole: false, beatEveryMs: 50, deadAfterMs: Number(deadAfterMs) });
process.once('SIGTERM', () => {
  void registry.stop().then(async () => {
    await orm.close(true);
    process.exit(0);
  });
});
process.stdout.write(`${JSON.stringify({ id: registry.self.id })}\n`);
