import { mkdir, readdir } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { openTerminal, type Terminal } from '../support/command-line.ts';
import { createTemporaryFolder, type TemporaryFolder } from '../support/data-dir.ts';
import { eventually } from '../support/eventually.ts';
import { processesNaming } from '../support/processes.ts';
import { tinyStory } from '../support/tiny-gguf.ts';

const checkout = fileURLToPath(new URL('../..', import.meta.url));

describe('npm run demo', () => {
  let folder: TemporaryFolder;
  let temporary: string;
  let terminal: Terminal | null = null;

  beforeEach(async () => {
    folder = await createTemporaryFolder('demo');
    temporary = path.join(folder.path, 'tmp');
    await mkdir(temporary, { mode: 0o711 });
  });

  afterEach(async () => {
    terminal?.kill();
    await eventually('everything has ended', async () => (await processesNaming(temporary)).length === 0, 60_000);
    await folder.remove();
  }, 70_000);

  function open(): Terminal {
    terminal = openTerminal(['run', 'demo', '--', '--model', 'tiny'], { dataDir: folder.path, program: ['npm'], cwd: checkout, env: { TMPDIR: temporary, NODE_DISABLE_COMPILE_CACHE: '1' } });
    return terminal;
  }

  async function expectNothingLeft(): Promise<void> {
    await eventually('everything has ended', async () => (await processesNaming(temporary)).length === 0, 60_000);
    expect(await readdir(temporary)).toEqual([]);
    // Settings of whoever runs it do not count: their data folder was not touched.
    expect(await readdir(folder.path)).not.toContain('service.lock');
  }

  it('shows every step from search to chat, stays up until Ctrl-C and leaves nothing behind', async () => {
    const demo = open();
    let at = 0;
    for (const text of ['knows one sentence', 'search tiny-story', 'ollama:tiny-story', 'info demo/tiny-story-GGUF', 'fits: ', 'pull demo/tiny-story-GGUF', '█', 'completed', 'verified', 'demo: running', tinyStory, 'status', 'embedded-postgres', 'The demo is ready']) at = await demo.see(text, at);
    await demo.see('--data-dir', at);
    const [, url = '', key = ''] = /GraphiQL +(\S+)\/graphql[\s\S]*\n +key +(\S+)/.exec(demo.screen()) ?? [];
    expect((await fetch(`${url}/graphql`, { headers: { accept: 'text/html' } })).status).toBe(200);
    const answer = await fetch(`${url}/api/deployments/list`, { headers: { authorization: `Bearer ${key}` } });
    expect(await answer.json()).toMatchObject({ items: [{ name: 'demo', status: 'running' }] });
    demo.type('\u0003');
    // npm itself may report the signal; what counts is what is left.
    await demo.ended;
    await expectNothingLeft();
    await expect(fetch(`${url}/health`)).rejects.toThrow();
  }, 180_000);

  it('leaves nothing behind when Ctrl-C comes in the middle of a step', async () => {
    const demo = open();
    await demo.see(/[1-9] %/);
    demo.type('\u0003');
    await demo.ended;
    await expectNothingLeft();
  }, 120_000);
});
