import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { jsonLines, runCommand, startCommand, type Finished } from '../support/command-line.ts';
import { createTemporaryFolder, type TemporaryFolder } from '../support/data-dir.ts';
import { eventually } from '../support/eventually.ts';
import { bufferContent } from '../support/hub/content.ts';
import { createHub, type Hub } from '../support/hub/hub.ts';
import { startService, type ServiceProcess } from '../support/service-process.ts';
import { buildTinyGguf, tinyStory } from '../support/tiny-gguf.ts';

const unknownId = '0192f000-0000-7000-8000-000000000001';

describe('commands on a service that runs', () => {
  let hub: Hub;
  let folder: TemporaryFolder;
  let service: ServiceProcess;

  beforeAll(async () => {
    hub = await createHub({ repos: [{ id: 'tiny/story-GGUF', files: [{ path: 'story-F16.gguf', content: bufferContent(buildTinyGguf({ mode: 'story' })) }] }] });
    folder = await createTemporaryFolder('cli');
    service = await startService({ dataDir: folder.path, env: { HF_ENDPOINT: hub.endpoint } });
  }, 90_000);

  afterAll(async () => {
    if (service.isAlive()) await service.end('SIGTERM');
    await hub.close();
    await folder.remove();
  }, 60_000);

  const command = (args: readonly string[], options: { input?: string; env?: Record<string, string>; cwd?: string } = {}): Promise<Finished> => runCommand(args, { dataDir: folder.path, ...options });

  async function done(...args: string[]): Promise<Finished> {
    const finished = await command(args);
    expect(finished).toMatchObject({ code: 0 });
    return finished;
  }

  async function json(...args: string[]): Promise<Record<string, unknown>> {
    return JSON.parse((await done(...args, '--json')).stdout) as Record<string, unknown>;
  }

  it('find a model, download it, run it and talk to it, each with JSON alone on standard output', async () => {
    expect(await json('search', 'story', '--source', 'huggingface')).toMatchObject({ items: [{ id: 'huggingface:tiny/story-GGUF', installed: false }], sources: [{ status: 'ok' }] });
    expect(await json('info', 'tiny/story-GGUF')).toMatchObject({ model: { variants: [{ name: 'F16', recommended: true, fit: { verdict: 'fits' } }] } });

    const events = jsonLines((await done('pull', 'tiny/story-GGUF', '--json')).stdout);
    expect(events[0]).toMatchObject({ type: 'snapshot' });
    expect(events.at(-1)).toMatchObject({ task: { status: 'completed', progress: 1 } });
    expect(await json('downloads')).toMatchObject({ items: [{ model_id: 'huggingface:tiny/story-GGUF', status: 'completed' }] });
    expect(await json('ls')).toMatchObject({ items: [{ model_id: 'huggingface:tiny/story-GGUF', variant: 'F16', verification: 'verified' }] });

    expect(await json('start', 'tiny/story-GGUF', '--name', 'story', '--context', '512', '--threads', '1')).toMatchObject({ deployment: { name: 'story', status: 'running' } });
    expect(await json('ps')).toMatchObject({ items: [{ name: 'story', status: 'running' }] });

    const talk = await command(['chat', 'story', '--json'], { input: 'Tell me a story\n\nAnother one\n' });
    expect(talk.code).toBe(0);
    const spoken = jsonLines(talk.stdout);
    expect(spoken.filter(({ type }) => type === 'end')).toHaveLength(2);
    expect(spoken.filter(({ type }) => type === 'token').map(({ text }) => String(text)).join('')).toBe(tinyStory + tinyStory);

    const { items } = (await json('sessions')) as { items: { session_id: string; message_count: number }[] };
    expect(items).toMatchObject([{ message_count: 4 }]);
    const exported = await json('export', items[0]?.session_id ?? '');
    expect(exported['content_type']).toContain('text/markdown');
    expect(exported['content']).toContain(tinyStory);
    expect(await json('status')).toMatchObject({ url: service.url, deployments: { total: 1, running: 1 } });
  }, 60_000);

  it('show the same to people as text without control characters where nobody sits at a terminal', async () => {
    for (const args of [['search', 'story'], ['info', 'tiny/story-GGUF'], ['ls'], ['downloads'], ['ps'], ['logs', 'story'], ['sessions'], ['keys'], ['status'], ['engines'], ['config'], ['pull', 'tiny/story-GGUF']]) {
      const { stdout, stderr } = await done(...args);
      expect(stdout + stderr).not.toMatch(/[\u0000-\u0008\u000B-\u001F\u007F]/);
    }
    const answer = await command(['chat', 'story'], { input: 'Hello' });
    expect(answer.stdout).toBe(`${tinyStory}\n`);
  }, 60_000);

  it('tell what the machine can run models on, with a remedy for what is missing', async () => {
    const { items } = (await json('engines')) as { items: { id: string; engines: { id: string; available: boolean; remedy: string | null }[] }[] };
    const engines = items.find(({ id }) => id === 'llama-cpp')?.engines ?? [];
    expect(engines.find(({ id }) => id === 'embedded-cpu')).toMatchObject({ available: true, remedy: null });
    // The service of the tests is told not to use one.
    expect(engines.find(({ id }) => id === 'llama-server')).toMatchObject({ available: false });
    expect((await done('engines')).stdout).toMatch(/llama-cpp +.*in use/);
  });

  it('write a conversation to a file', async () => {
    const { items } = (await json('sessions', '--limit', '1')) as { items: { session_id: string }[] };
    const file = path.join(folder.path, 'talk.md');
    await done('export', items[0]?.session_id ?? '', '--output', 'talk.md');
    expect(await readFile(file, 'utf8')).toContain('Hello');
    for (const format of ['json', 'jsonl', 'html', 'text']) expect((await done('export', items[0]?.session_id ?? '', '--format', format)).stdout).toContain('Hello');
  });

  it('follow the log of a deployment until Ctrl-C, which ends them with 130', async () => {
    const following = startCommand(['logs', 'story', '-f', '--json'], { dataDir: folder.path });
    await eventually('a line has come', () => following.stdout().includes('"level":"info"'));
    following.kill('SIGINT');
    const { code, stdout, stderr } = await following.finished;
    expect(code).toBe(130);
    expect(jsonLines(stdout)[0]).toMatchObject({ stream: 'supervisor', run: 1 });
    expect(stderr).toMatch(/^llm-manager: INTERRUPTED: .+\n$/);
  });

  it('restart, stop and remove what runs, and stop only when it has stopped', async () => {
    expect(await json('restart', 'story')).toMatchObject({ deployment: { status: 'running' } });
    expect(await json('stop', 'story')).toMatchObject({ deployment: { status: 'stopped' } });
    const chat = await command(['chat', 'story'], { input: 'Hello\n' });
    expect(chat).toMatchObject({ code: 1, stdout: '' });
    expect(chat.stderr).toMatch(/^llm-manager: INVALID_STATE: story is stopped/);
    expect(await json('start', 'story')).toMatchObject({ deployment: { status: 'running' } });
    await done('stop', 'story', '--rm');
    expect(await json('ps')).toMatchObject({ items: [] });
    await done('rm', 'tiny/story-GGUF');
    expect(await json('ls')).toMatchObject({ items: [] });
  }, 60_000);

  it('put a download into the queue, hold it, go on and cancel it', async () => {
    hub.addRepo({ id: 'tiny/slow-GGUF', files: [{ path: 'slow-F16.gguf', content: bufferContent(buildTinyGguf({ mode: 'random' })) }] });
    const started = (await json('pull', 'tiny/slow-GGUF', '--no-wait', '--max-bytes-per-second', '20000')) as { task: { task_id: string } };
    const id = started.task.task_id;
    expect(await json('pause', id)).toMatchObject({ task: { status: 'paused' } });
    expect(await json('resume', id)).toMatchObject({ task: { task_id: id } });
    expect(await json('cancel', id)).toMatchObject({ task: { status: 'cancelled' } });
  });

  it('tell damage with 1, and fetch again what is damaged', async () => {
    hub.addRepo({ id: 'tiny/other-GGUF', files: [{ path: 'other-F16.gguf', content: bufferContent(buildTinyGguf({ mode: 'story' })) }] });
    await done('pull', 'tiny/other-GGUF');
    expect(await json('verify', 'tiny/other-GGUF')).toMatchObject({ verified: [{ verification: 'verified', verdict: 'clean' }], tasks: [] });
    const { items } = (await json('ls')) as { items: { folder: string }[] };
    const file = path.join(items[0]?.folder ?? '', 'other-F16.gguf');
    const whole = await readFile(file);
    await writeFile(file, whole.with(whole.length - 9, 255 - (whole.at(-9) ?? 0)));

    const damaged = await command(['verify', 'tiny/other-GGUF', '--json']);
    expect(damaged.code).toBe(1);
    expect(JSON.parse(damaged.stdout)).toMatchObject({ verified: [{ verification: 'damaged' }], tasks: [] });
    expect(await command(['verify', 'tiny/other-GGUF'])).toMatchObject({ code: 1, stdout: expect.stringContaining('  other-F16.gguf  damaged\n') });
    expect(await json('verify', 'tiny/other-GGUF', '--repair')).toMatchObject({ verified: [{ verification: 'damaged' }], tasks: [{ status: 'completed' }] });
    expect((await readFile(file)).equals(whole)).toBe(true);
    expect(await json('verify', 'tiny/other-GGUF', '--repair')).toMatchObject({ verified: [{ verification: 'verified' }], tasks: [] });
    await done('rm', 'tiny/other-GGUF');
  }, 60_000);

  it('take a file of this machine in as a model of the given name', async () => {
    const elsewhere = await createTemporaryFolder('import');
    await writeFile(path.join(elsewhere.path, 'mine.F16.gguf'), buildTinyGguf({ mode: 'story' }));
    const imported = await command(['import', 'mine.F16.gguf', '--name', 'mine', '--json'], { cwd: elsewhere.path });
    expect(imported).toMatchObject({ code: 0 });
    expect(JSON.parse(imported.stdout)).toMatchObject({ imported: [{ model_id: 'local:mine', variant: 'F16', verdict: 'clean' }] });
    await elsewhere.remove();
    expect((await done('verify', 'local:mine')).stdout).toContain('local:mine F16  verified, scan: clean');
    await done('rm', 'local:mine');
  }, 60_000);

  it('make keys that may do what they are for, and end them', async () => {
    const made = (await json('keys', 'create', 'guest', '--role', 'viewer')) as { key: { key_id: string }; secret: string };
    const env = { LLM_MANAGER_URL: service.url, LLM_MANAGER_API_KEY: made.secret };
    expect(await command(['ps'], { env })).toMatchObject({ code: 0 });
    const refused = await command(['pull', 'tiny/story-GGUF'], { env });
    expect(refused).toMatchObject({ code: 5, stdout: '' });
    expect(refused.stderr).toMatch(/^llm-manager: FORBIDDEN: .+\n$/);
    expect(await command(['import', '/nonexistent/x.gguf'], { env })).toMatchObject({ code: 5, stdout: '' });
    const rotated = (await json('keys', 'rotate', made.key.key_id)) as { secret: string };
    expect(await command(['ps'], { env })).toMatchObject({ code: 5 });
    await done('keys', 'revoke', made.key.key_id);
    expect(await command(['ps'], { env: { ...env, LLM_MANAGER_API_KEY: rotated.secret } })).toMatchObject({ code: 5 });
  }, 60_000);

  it.each([
    [['serch', 'x'], 'search'],
    [['keys', 'creat', 'x'], 'keys create'],
    [['status', '--jsn'], '--json'],
  ])('guess what was meant by %j', async (args, meant) => {
    expect((await command(args)).stderr).toContain(`(Did you mean ${meant}?)`);
  });

  it.each([
    ['wrong usage', ['pull'], 2, 'VALIDATION_FAILED'],
    ['an unknown command', ['pulll', 'x'], 2, 'VALIDATION_FAILED'],
    ['an unknown part of a command', ['keys', 'creat', 'x'], 2, 'VALIDATION_FAILED'],
    ['a wrong number', ['downloads', '--json', '--limit', 'x'], 2, 'VALIDATION_FAILED'],
    ['a value that is none of those', ['search', 'x', '--sort', 'beauty'], 2, 'VALIDATION_FAILED'],
    ['a model id that cannot be one', ['info', '../../etc'], 2, 'VALIDATION_FAILED'],
    ['a service that does not answer', ['ls', '--url', 'http://127.0.0.1:9', '--key', 'k'], 3, 'NETWORK_FAILED'],
    ['a data folder without a service', ['ls', '--data-dir', '/nonexistent/llm-manager'], 3, 'NETWORK_FAILED'],
    ['an unknown model', ['info', 'tiny/none'], 4, 'MODEL_NOT_FOUND'],
    ['a model to verify that is not here', ['verify', 'tiny/none'], 4, 'MODEL_NOT_FOUND'],
    ['a file to import that is not there', ['import', '/nonexistent/x.gguf'], 4, 'FILE_NOT_FOUND'],
    ['an unknown task', ['cancel', unknownId], 4, 'DOWNLOAD_NOT_FOUND'],
    ['an unknown deployment', ['stop', 'nobody'], 4, 'DEPLOYMENT_NOT_FOUND'],
    ['an unknown session', ['export', unknownId], 4, 'CHAT_SESSION_NOT_FOUND'],
    ['a wrong key', ['ls', '--key', 'wrong'], 5, 'UNAUTHENTICATED'],
    ['a model that is not installed', ['start', 'tiny/story-GGUF'], 1, 'MODEL_NOT_INSTALLED'],
  ] as const)('end with one line, its code and nothing else for %s', async (_what, args, code, errorCode) => {
    const finished = await command(args);
    expect(finished).toMatchObject({ code, stdout: '' });
    expect(finished.stderr).toMatch(new RegExp(`^llm-manager: ${errorCode}: [^\\n]+\\n$`));
  });

  it('show a stack only when asked', async () => {
    expect((await command(['info', 'tiny/none', '--verbose'])).stderr).toMatch(/\n\s+at /);
  });

  it('end quietly when whoever reads their output has gone', async () => {
    const { code, stderr } = await runCommand([], { dataDir: folder.path, program: ['bash', '-c', `"${process.execPath}" "${path.resolve('src/main.ts')}" config --json | true; echo "\${PIPESTATUS[0]}"`] });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });
});
