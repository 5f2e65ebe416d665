import { createHash } from 'node:crypto';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Finished, runCommand, startCommand } from '../support/command-line.ts';
import { createTemporaryFolder, type TemporaryFolder } from '../support/data-dir.ts';
import { eventually } from '../support/eventually.ts';
import { startService, type ServiceProcess } from '../support/service-process.ts';
import { buildTinyGguf } from '../support/tiny-gguf.ts';

/** Looks at nothing while the file `hold` is in its folder: work that takes as long as a test wants. */
const holdingScanner = `
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { definePlugin } from 'llm-manager/plugin';
const scanner = (file) => ({ id: 'hold', version: '1', accepts: () => true, scan: async (target, signal) => {
  while (existsSync(file)) await sleep(20, undefined, { signal });
  return [];
} });
export const hold = definePlugin({ name: 'hold', setup: ({ dataDir }) => ({ scanners: [scanner(dataDir + '/hold')] }) });
`;

const cached = 'acme/cached-GGUF';

describe('commands about stored models', () => {
  let folder: TemporaryFolder;
  let outside: TemporaryFolder;
  let service: ServiceProcess;

  beforeAll(async () => {
    folder = await createTemporaryFolder('cli-storage');
    writeFileSync(join(folder.path, 'hold.mjs'), holdingScanner);
    outside = await createTemporaryFolder('cli-storage-outside');
    writeFileSync(join(outside.path, 'mine.F16.gguf'), buildTinyGguf());
    service = await startService({ dataDir: folder.path, env: { LLM_MANAGER_PLUGINS: './hold.mjs' } });
  }, 90_000);

  afterAll(async () => {
    if (service.isAlive()) await service.end('SIGTERM');
    await folder.remove();
    await outside.remove();
  }, 60_000);

  const holdFile = (): string => join(folder.path, 'plugins', 'hold', 'hold');
  const command = (...args: string[]): Promise<Finished> => runCommand(args, { dataDir: folder.path });

  /** As other tools leave it in the shared cache. */
  function cacheModel(): void {
    const bytes = buildTinyGguf({ mode: 'story' });
    const digest = createHash('sha256').update(bytes).digest('hex');
    const home = join(folder.path, 'hf', 'hub', 'models--acme--cached-GGUF');
    const snapshot = join(home, 'snapshots', '0123456789abcdef0123456789abcdef01234567');
    mkdirSync(join(home, 'blobs'), { recursive: true });
    mkdirSync(snapshot, { recursive: true });
    writeFileSync(join(home, 'blobs', digest), bytes);
    symlinkSync(join('..', '..', 'blobs', digest), join(snapshot, 'cached.F16.gguf'));
  }

  it('adopt what other tools have left in the shared cache: all of it, or the one that is named', async () => {
    expect(await command('adopt', '--json')).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\{\s*"adopted":\s*\[\]\s*\}\s*$/), stderr: expect.stringContaining('nothing new') });
    expect(await command('adopt', cached)).toMatchObject({ code: 4, stderr: expect.stringMatching(/^llm-manager: MODEL_NOT_FOUND: /m) });
    cacheModel();
    const adopted = await command('adopt', cached, '--json');
    expect(JSON.parse(adopted.stdout)).toMatchObject({ adopted: [{ model_id: `huggingface:${cached}`, variant: 'F16', verification: 'verified' }] });
    expect((await command('ls')).stdout).toContain(cached);
    expect(await command('adopt', cached)).toMatchObject({ code: 0, stderr: expect.stringContaining('is installed already') });
  }, 60_000);

  it('wait for work that takes longer than a request, show how far it is, and end with its end', async () => {
    writeFileSync(holdFile(), '');
    const importing = startCommand(['import', 'mine.F16.gguf', '--name', 'mine', '--json'], { dataDir: folder.path, cwd: outside.path });
    const verifying = startCommand(['verify', cached, '--json'], { dataDir: folder.path });
    for (const waiting of [importing, verifying]) await eventually('the command says that it waits', () => (waiting.stderr().includes('goes on with it') ? true : null), 60_000);
    await eventually('it shows how far it is', () => (/\d+ %  .* read/.test(importing.stderr()) ? true : null), 60_000);
    rmSync(holdFile());
    const [imported, verified] = await Promise.all([importing.finished, verifying.finished]);
    expect([imported.code, verified.code]).toEqual([0, 0]);
    expect(JSON.parse(imported.stdout)).toMatchObject({ imported: [{ model_id: 'local:mine', variant: 'F16', verdict: 'clean' }] });
    expect(JSON.parse(verified.stdout)).toMatchObject({ verified: [{ model_id: `huggingface:${cached}`, verification: 'verified' }], tasks: [] });
  }, 120_000);

  it('say at Ctrl-C that the work goes on, and how to end it', async () => {
    writeFileSync(holdFile(), '');
    const verifying = startCommand(['verify', cached], { dataDir: folder.path });
    await eventually('the command says that it waits', () => (verifying.stderr().includes('goes on with it') ? true : null), 60_000);
    verifying.kill('SIGINT');
    const { code, stderr } = await verifying.finished;
    const [, id = ''] = /"llm-manager cancel ([0-9a-f-]{36})" ends it/.exec(stderr) ?? [];
    expect(code).toBe(130);
    expect(await command('cancel', id)).toMatchObject({ code: 0, stdout: `${id}  verify  cancelled\n` });
    rmSync(holdFile());
    expect(await command('cancel', id)).toMatchObject({ code: 0 });
    expect(await command('cancel', id.replace(/.$/, (last) => (last === '0' ? '1' : '0')))).toMatchObject({ code: 4, stderr: expect.stringMatching(/^llm-manager: DOWNLOAD_NOT_FOUND: /m) });
  }, 120_000);
});
