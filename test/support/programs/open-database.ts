/** Opens the embedded database of a folder, reports, and holds it until it is killed or its standard input ends. */
import { once } from 'node:events';
import { openDatabase } from '../../../src/infrastructure/database/database.ts';
import { silentLogger } from '../silent-logger.ts';

const [dataDir = ''] = process.argv.slice(2);
const database = await openDatabase({ config: { kind: 'embedded' }, dataDir, logger: silentLogger }, AbortSignal.timeout(30_000));
await database.ping(AbortSignal.timeout(5_000));
process.stdout.write(`${JSON.stringify({ kind: database.kind })}\n`);
process.stdin.resume();
await once(process.stdin, 'end');
await database.stop(AbortSignal.timeout(5_000));
process.stdout.write(`${JSON.stringify({ stopped: true })}\n`);
