import { mkdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { describeAlertChannel } from 'llm-manager/contract/alert-channel';
import { createFileChannel } from '../../../examples/plugins/file-alert-channel.ts';
import { guardAlertChannel } from '../../../src/plugins/guard-alert-channel.ts';
import { createTemporaryFolder } from '../../support/data-dir.ts';
import { silentLogger } from '../../support/silent-logger.ts';

describeAlertChannel('file, the example', async () => {
  const folder = await createTemporaryFolder('alert-file');
  const place = join(folder.path, 'place');
  const file = join(place, 'alerts.jsonl');
  await mkdir(place);
  return {
    channel: guardAlertChannel(createFileChannel(file), silentLogger),
    arrived: async () => (await readFile(file, 'utf8').catch(() => '')).split('\n').filter((line) => line !== '').map((line) => (JSON.parse(line) as { deliveryId: string }).deliveryId),
    breakPlace: () => rename(place, `${place}-away`),
    mendPlace: () => rename(`${place}-away`, place),
    secrets: [folder.path],
    close: () => folder.remove(),
  };
});
