/** Downloads one model with the download room of a database and folder, and kills itself at one step: database, folder, endpoint, model, step. */
import { writeSync } from 'node:fs';
import { entities } from '../../../src/infrastructure/database/entities.ts';
import { createPostgresOrm } from '../../../src/infrastructure/database/orm.ts';
import { openRoom } from '../downloads/room.ts';
import { silentLogger } from '../silent-logger.ts';
import { countSteps } from './persisted-steps.ts';

const [databaseUrl = '', folder = '', endpoint = '', modelId = '', killAt = '0'] = process.argv.slice(2);
// Written at once: what waits in the process dies with it.
const say = (line: Record<string, unknown>): void => void writeSync(1, `${JSON.stringify(line)}\n`);

const orm = await createPostgresOrm(databaseUrl, { entities, migrations: [], logger: silentLogger });
const room = await openRoom({ orm, databaseUrl, folder, endpoint });
const stepsSoFar = await countSteps(Number(killAt), killAt === '0' ? (step) => say({ step }) : undefined);
const { task } = await room.startDownload({ modelId });
say({ taskId: task.id });
const done = await room.reaches(task.id, 'completed', 'failed');
say({ status: done.status, steps: stepsSoFar() });
await room.close();
await orm.close(true);
