/**
 * An alert channel: adds a line of JSON to a file for each notice, for programs that follow files.
 *
 *   LLM_MANAGER_PLUGINS=./examples/plugins/file-alert-channel.ts npm start
 *
 * The file is `plugins/alert-file/alerts.jsonl` in the data folder; when it has grown to 10 MB it begins anew, and one
 * older file is kept.
 */
import { appendFile, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, definePlugin, type AlertChannel } from 'llm-manager/plugin';

const sizeMaxBytes = 10_000_000;

export function createFileChannel(file: string): AlertChannel {
  return {
    id: 'file',
    name: `Lines in ${file}`,
    deliver: async (alert, signal) => {
      signal.throwIfAborted();
      try {
        const size = await stat(file).then((stats) => stats.size, () => 0);
        if (size > sizeMaxBytes) await rename(file, `${file}.old`);
        // One short write of one line, so that several at once do not mix. The same notice may come again: readers know it by its deliveryId.
        await appendFile(file, `${JSON.stringify(alert)}\n`, { mode: 0o600 });
      } catch (error) {
        throw new AppError('INSUFFICIENT_STORAGE', 'The file of alerts cannot be written.', { cause: error });
      }
    },
  };
}

export const alertFile = definePlugin({
  name: 'alert-file',
  setup: ({ dataDir }) => ({ alertChannels: [createFileChannel(join(dataDir, 'alerts.jsonl'))] }),
});
