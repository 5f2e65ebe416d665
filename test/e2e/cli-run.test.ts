import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeAll, afterAll, beforeEach, describe, expect, it } from '@jest/globals';
import { jsonLines, openTerminal, runCommand, startCommand, type CommandOptions, type Terminal } from '../support/command-line.ts';
import { createTemporaryFolder, type TemporaryFolder } from '../support/data-dir.ts';
import { eventually } from '../support/eventually.ts';
import { bufferContent } from '../support/hub/content.ts';
import { createHub, type Hub } from '../support/hub/hub.ts';
import { enginesOf, isAlive, processesNaming } from '../support/processes.ts';
import { startService } from '../support/service-process.ts';
import { buildTinyGguf, tinyStory } from '../support/tiny-gguf.ts';

const launcher = fileURLToPath(new URL('../../bin/llm-manager.js', import.meta.url));
const story = 'tiny/story-GGUF';
const loop = 'tiny/loop-GGUF';

describe('run, where no service runs', () => {
  let hub: Hub;
  let folder: TemporaryFolder;
  let options: CommandOptions;
  const terminals: Terminal[] = [];

  beforeAll(async () => {
    const file = (mode: 'story' | 'loop'): { path: string; content: ReturnType<typeof bufferContent> } => ({ path: `${mode}-F16.gguf`, content: bufferContent(buildTinyGguf({ mode })) });
    hub = await createHub({ repos: [{ id: story, files: [file('story')] }, { id: loop, files: [file('loop')] }] });
  });

  beforeEach(async () => {
    folder = await createTemporaryFolder('cli-run');
    options = { dataDir: folder.path, env: { HF_ENDPOINT: hub.endpoint } };
  });

  afterEach(async () => {
    for (const terminal of terminals.splice(0)) terminal.kill();
    await eventually('the service has ended', async () => (await processesNaming(folder.path)).length === 0, 60_000);
    await folder.remove();
  }, 70_000);

  afterAll(async () => await hub.close());

  function open(args: readonly string[], more: Partial<CommandOptions> = {}): Terminal {
    const terminal = openTerminal(args, { ...options, ...more });
    terminals.push(terminal);
    return terminal;
  }

  const serviceOf = async (): Promise<{ pid: number }> => JSON.parse(await readFile(path.join(folder.path, 'server.json'), 'utf8')) as { pid: number };

  /** Service and engine of a `run` that has come as far as its prompt. */
  async function processesOf(): Promise<number[]> {
    const { pid } = await serviceOf();
    const engines = await enginesOf(pid);
    expect(engines).toHaveLength(1);
    return [pid, ...engines];
  }

  async function expectNothingLeft(before: readonly number[] = []): Promise<void> {
    expect(before.filter(isAlive)).toEqual([]);
    expect(await processesNaming(folder.path)).toEqual([]);
    await expect(readFile(path.join(folder.path, 'server.json'))).rejects.toThrow('ENOENT');
  }

  it('answers a prompt once, with the answer alone on standard output, and leaves nothing behind', async () => {
    const first = await runCommand(['run', story, 'Tell me', 'a story'], options);
    expect(first).toMatchObject({ code: 0, stdout: `${tinyStory}\n` });
    expect(first.stderr).toContain('starting one, which ends with this command');
    await expectNothingLeft();

    // The model is here now: neither its source nor a download is needed, and no deployment is left from before.
    const again = await runCommand(['run', story, '--json'], { ...options, env: {}, input: 'And by standard input?\n' });
    expect(again.code).toBe(0);
    const events = jsonLines(again.stdout);
    expect(events.map(({ type }) => type).filter((type, index, all) => type !== all[index - 1])).toEqual(['service', 'deployment', 'start', 'token', 'end']);
    expect(events.filter(({ type }) => type === 'token').map(({ text }) => String(text)).join('')).toBe(tinyStory);
    await expectNothingLeft();
  }, 90_000);

  it('stops the answer at the first Ctrl-C and ends at the next, with 130 and nothing left behind', async () => {
    const terminal = open(['run', loop]);
    await terminal.see('>>> ');
    const processes = await processesOf();
    terminal.type('Go on for ever\r');
    await terminal.see(/world.*world/s);
    terminal.type('\u0003');
    const stopped = await terminal.see('(stopped)');
    terminal.type('Once more\r');
    await terminal.see('hello', stopped);
    terminal.type('\u0003');
    const atPrompt = await terminal.see('>>> ', await terminal.see('(stopped)', stopped));
    expect(processes.every(isAlive)).toBe(true);
    terminal.type('\u0003');
    expect(await terminal.ended).toBe(130);
    expect(terminal.screen().slice(atPrompt)).toContain('llm-manager: INTERRUPTED');
    await expectNothingLeft(processes);
  }, 90_000);

  it('ends at /bye and at the end of input with 0, through the launcher too, and shows a bar only while it may draw', async () => {
    const terminal = open(['run', story], { program: [process.execPath, launcher] });
    await terminal.see('>>> ');
    expect(terminal.screen()).toContain('█');
    const processes = await processesOf();
    terminal.type('Hello\r');
    await terminal.see('>>> ', await terminal.see('again.'));
    terminal.type('\u0004');
    expect(await terminal.ended).toBe(0);
    await expectNothingLeft(processes);

    const plain = open(['run', story], { env: { HF_ENDPOINT: hub.endpoint, CI: '1', NO_COLOR: '1' } });
    await plain.see('>>> ');
    plain.type('/bye\r');
    expect(await plain.ended).toBe(0);
    expect(plain.screen()).not.toContain('█');
  }, 90_000);

  it('ends in the middle of a download at Ctrl-C, and goes on there the next time', async () => {
    const slow = await createHub({ cdnBytesPerSecond: 100_000, repos: [{ id: story, files: [{ path: 'story-F16.gguf', content: bufferContent(buildTinyGguf({ mode: 'story' })) }] }] });
    try {
      const terminal = open(['run', story, 'Hello'], { env: { HF_ENDPOINT: slow.endpoint } });
      await terminal.see(/[1-9] %/);
      const { pid } = await serviceOf();
      terminal.type('\u0003');
      expect(await terminal.ended).toBe(130);
      await expectNothingLeft([pid]);
    } finally {
      await slow.close();
    }
    expect(await runCommand(['run', story, 'Hello'], options)).toMatchObject({ code: 0, stdout: `${tinyStory}\n` });
  }, 90_000);

  it('stops the answer and ends with 130 when a script interrupts it', async () => {
    const running = startCommand(['run', loop, 'Go on for ever'], options);
    await eventually('the answer has begun', () => running.stdout().includes('world'), 60_000);
    const processes = await processesOf();
    running.kill('SIGINT');
    const { code, stderr } = await running.finished;
    expect(code).toBe(130);
    expect(stderr).toContain('llm-manager: INTERRUPTED: ');
    await expectNothingLeft(processes);
  }, 90_000);

  it('leaves no service behind even when it is killed', async () => {
    const running = startCommand(['run', loop, 'Go on for ever'], options);
    await eventually('the answer has begun', () => running.stdout().includes('world'), 60_000);
    const processes = await processesOf();
    running.kill('SIGKILL');
    expect((await running.finished).signal).toBe('SIGKILL');
    await eventually('service and engine have ended', () => processes.every((pid) => !isAlive(pid)), 60_000);
    await expectNothingLeft(processes);
  }, 90_000);

  it('says why and ends with the code of what failed', async () => {
    const unknown = await runCommand(['run', 'tiny/none', 'Hello'], options);
    expect(unknown).toMatchObject({ code: 4, stdout: '' });
    expect(unknown.stderr).toMatch(/\nllm-manager: MODEL_NOT_FOUND: [^\n]+\n$/);
    const variant = await runCommand(['run', story, '--variant', 'Q9', 'Hello'], options);
    expect(variant).toMatchObject({ code: 4 });
    expect(variant.stderr).toContain('has no variant Q9; it has F16');
    expect(await runCommand(['run', story], { ...options, input: '' })).toMatchObject({ code: 2 });
    await expectNothingLeft();
  }, 90_000);

  it('uses the service that runs, and takes away only what it brought', async () => {
    const service = await startService(options);
    try {
      expect(await runCommand(['run', story, 'Hello'], options)).toMatchObject({ code: 0, stdout: `${tinyStory}\n` });
      expect(JSON.parse((await runCommand(['ps', '--json'], options)).stdout)).toMatchObject({ items: [] });
      await runCommand(['start', story, '--name', 'mine'], options);
      const reused = await runCommand(['run', story, 'Hello'], options);
      expect(reused.stderr).toContain('mine runs already');
      expect(JSON.parse((await runCommand(['ps', '--json'], options)).stdout)).toMatchObject({ items: [{ name: 'mine', status: 'running' }] });
    } finally {
      await service.end('SIGTERM');
    }
    await expectNothingLeft();
  }, 90_000);
});
