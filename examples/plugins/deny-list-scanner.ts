/**
 * A scanner: refuses files whose SHA-256 stands in a list, one hexadecimal digest a line.
 *
 *   LLM_MANAGER_PLUGINS=./examples/plugins/deny-list-scanner.ts npm start
 *
 * The list is `plugins/deny-list/denied.txt` in the data folder, read anew for each file.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { definePlugin, type FileScanner } from 'llm-manager/plugin';

export function createDenyListScanner(list: string): FileScanner {
  return {
    id: 'deny-list',
    version: '1',
    accepts: () => true,
    scan: async ({ path, file }, signal) => {
      signal.throwIfAborted();
      const denied = new Set((await readFile(list, { encoding: 'utf8', signal })).split('\n').map((line) => line.trim().toLowerCase()));
      const hash = createHash('sha256');
      // A stream: the file may be far larger than the memory.
      await pipeline(createReadStream(file), hash, { signal });
      if (!denied.has(hash.digest('hex'))) return [];
      return [{ rule: 'deny_list.digest', severity: 'block', message: `${path} is on the list of files that are not wanted here.` }];
    },
  };
}

export const denyList = definePlugin({
  name: 'deny-list',
  setup: async ({ dataDir, logger }) => {
    const list = join(dataDir, 'denied.txt');
    // A list that cannot be read must stop the start, not let every file pass.
    const digests = (await readFile(list, 'utf8')).split('\n').filter((line) => line.trim() !== '').length;
    logger.info({ list, digests }, 'files on this list are refused');
    return { scanners: [createDenyListScanner(list)] };
  },
});
