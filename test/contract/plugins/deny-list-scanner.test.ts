import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describeFileScanner } from 'llm-manager/contract/file-scanner';
import { createDenyListScanner } from '../../../examples/plugins/deny-list-scanner.ts';
import { guardScanner } from '../../../src/plugins/guard-scanner.ts';
import { createTemporaryFolder } from '../../support/data-dir.ts';
import { silentLogger } from '../../support/silent-logger.ts';

describeFileScanner('deny-list, the example', async () => {
  const folder = await createTemporaryFolder('deny-list');
  const list = join(folder.path, 'denied.txt');
  await writeFile(list, `${createHash('sha256').update('not wanted').digest('hex').toUpperCase()}\n`);
  return {
    scanner: guardScanner(createDenyListScanner(list), silentLogger),
    harmless: [{ path: 'model.gguf', content: 'wanted' }, { path: 'README.md', content: '' }],
    harmful: [{ path: 'model.gguf', content: 'not wanted' }],
    close: () => folder.remove(),
  };
});
