/** Takes the lock of a data folder, reports, and holds it until it is killed or its standard input ends. */
import { once } from 'node:events';
import { lockDataFolder, prepareDataFolder } from '../../../src/infrastructure/data-folder/data-folder.ts';

const [path = ''] = process.argv.slice(2);
try {
  const lock = await lockDataFolder(await prepareDataFolder(path));
  process.stdout.write(`${JSON.stringify({ locked: true })}\n`);
  process.stdin.resume();
  await once(process.stdin, 'end');
  await lock.release();
} catch (error) {
  process.stdout.write(`${JSON.stringify({ refused: (error as { pid?: number }).pid })}\n`);
}
