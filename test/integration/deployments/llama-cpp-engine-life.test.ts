import { afterAll, describe, expect, it } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { adoptEngine, type EngineAddress } from '../../../src/domains/deployments/runtimes/llama-cpp/adopted-engine.ts';
import { endOrphan, type EngineProcess } from '../../../src/domains/deployments/runtimes/llama-cpp/engine-process.ts';
import { identifyProcess, isSameProcess } from '../../../src/platform/process-identity.ts';
import type { ProcessIdentity } from '../../../src/platform/process-identity.ts';
import { createEngineBench, post, postJson, readEvents, readHealth, waitUntil } from '../../support/engine.ts';
import { plainHttp } from '../../support/plain-http.ts';
import { buildTinyGguf } from '../../support/tiny-gguf.ts';

const bench = createEngineBench();
afterAll(() => bench.close());

const modelPath = bench.writeModel({ mode: 'loop', contextLength: 65_536 });
const chat = '/v1/chat/completions';
const hello = { messages: [{ role: 'user', content: 'Hi' }], stream: true };
const { signal } = new AbortController();

function writeFile(name: string, bytes: Uint8Array): string {
  const path = join(bench.folder, name);
  writeFileSync(path, bytes);
  return path;
}

describe('starting an engine', () => {
  it.each<[string, () => string]>([
    ['is not there', () => join(bench.folder, 'missing.gguf')],
    ['is no GGUF', () => writeFile('junk.gguf', Buffer.alloc(100_000, 'junk'))],
    ['is cut off', () => writeFile('cut.gguf', buildTinyGguf().subarray(0, 700_000))],
    ['is empty', () => writeFile('empty.gguf', Buffer.alloc(0))],
  ])('fails with MODEL_INVALID when the file %s, and its log says why', async (_what, write) => {
    const spawned: ProcessIdentity[] = [];
    const started = bench.start({ modelPath: write() }, { onSpawn: (identity) => spawned.push(identity) });
    await expect(started).rejects.toMatchObject({ name: 'EngineStartError', code: 'MODEL_INVALID' });
    expect(bench.readLog().trimEnd().split('\n').at(-1)).toMatch(/ error MODEL_INVALID: The model file cannot be loaded: .+/);
    expect(await isSameProcess(spawned[0]!)).toBe(false);
  });

  it('fails with PORT_IN_USE when somebody else listens there', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    await expect(bench.start({ modelPath, port })).rejects.toMatchObject({ code: 'PORT_IN_USE' });
    other.close();
  });

  it('leaves no process when it is given up', async () => {
    const controller = new AbortController();
    const spawned: ProcessIdentity[] = [];
    const onSpawn = (identity: ProcessIdentity): void => {
      spawned.push(identity);
      controller.abort(new Error('given up'));
    };
    await expect(bench.start({ modelPath }, { onSpawn }, controller.signal)).rejects.toThrow('given up');
    expect(await isSameProcess(spawned[0]!)).toBe(false);
  });
});

async function readRest(events: AsyncIterable<string>): Promise<string[]> {
  const rest: string[] = [];
  for await (const data of events) rest.push(data);
  return rest;
}

describe('an engine', () => {
  it('tells how far its load is, has a session of its own and no variable that is not named, and after SIGTERM ends its running answer, takes no other and exits with 0', async () => {
    process.env['LLM_MANAGER_ADMIN_KEY'] = 'a-secret';
    process.env['NODE_OPTIONS'] = '--no-deprecation';
    const progress: number[] = [];
    const engine = await bench.start({ modelPath, contextSize: 8_192, drainMs: 60_000 }, { environment: { GGML_TEST: 'given' }, onProgress: (value) => progress.push(value) });
    delete process.env['LLM_MANAGER_ADMIN_KEY'];
    delete process.env['NODE_OPTIONS'];
    expect(progress.at(-1)).toBe(1);
    expectOwnSession(engine);
    const events = readEvents(await post(engine, chat, { ...hello, max_tokens: 1_500 }));
    await events.next();
    process.kill(engine.pid, 'SIGTERM');
    await waitUntil(() => readHealth(engine), ({ status }) => status === 'stopping');
    const refused = await postJson(engine, chat, hello);
    expect([refused.status, refused.body]).toMatchObject([503, { error: { code: 'shutting_down' } }]);
    const rest = await readRest(events);
    expect(rest.at(-1)).toBe('[DONE]');
    expect(rest.at(-2)).toContain('"finish_reason":"length"');
    expect(await engine.onExit).toEqual({ code: 0, signal: null });
  });

  it('ends a running answer with an error when the time for it is over, which a second call may bring forward', async () => {
    const engine = await bench.start({ modelPath, contextSize: 32_768 });
    const events = readEvents(await post(engine, chat, hello));
    await events.next();
    const stopped = engine.stop(600_000);
    await waitUntil(() => readHealth(engine), ({ status }) => status === 'stopping');
    expect(await engine.stop(0)).toEqual({ code: 0, signal: null });
    expect((await readRest(events)).at(-1)).toContain('shutting_down');
    expect(await stopped).toEqual({ code: 0, signal: null });
  });

  it('is killed at once when the wait for its end is given up, tells that, and is stopped already when it is stopped then', async () => {
    const engine = await bench.start({ modelPath, contextSize: 32_768 });
    const events = readEvents(await post(engine, chat, hello));
    await events.next();
    const controller = new AbortController();
    const stopped = engine.stop(60_000, controller.signal);
    await waitUntil(() => readHealth(engine), ({ status }) => status === 'stopping');
    controller.abort();
    expect(await stopped).toEqual({ code: null, signal: 'SIGKILL' });
    // What had come before the kill may still be read; then the answer breaks off, without an end.
    await expect(readRest(events)).rejects.toThrow();
    expect(await engine.onExit).toEqual({ code: null, signal: 'SIGKILL' });
    expect(await engine.stop(1_000)).toEqual({ code: null, signal: 'SIGKILL' });
    engine.kill();
  });

  it('is ended with the service, whichever way that ends by itself', async () => {
    const { parent, engine } = await orphanOf({ graceMs: 600_000 });
    parent.kill('SIGUSR2');
    await once(parent, 'exit');
    await waitUntil(() => isSameProcess(engine), (isAlive) => !isAlive);
  });
});

function expectOwnSession(engine: EngineProcess): void {
  if (process.platform !== 'linux') return;
  const stat = readFileSync(`/proc/${engine.pid}/stat`, 'utf8');
  // proc(5): after the name come state, parent, process group and session.
  expect(stat.slice(stat.lastIndexOf(')') + 2).split(' ').slice(2, 4)).toEqual([String(engine.pid), String(engine.pid)]);
  const names = readFileSync(`/proc/${engine.pid}/environ`, 'utf8').split('\0').map((entry) => entry.split('=', 1)[0]);
  expect(names).toEqual(expect.arrayContaining(['PATH', 'GGML_TEST', 'NODE_CHANNEL_FD']));
  expect(names).not.toEqual(expect.arrayContaining(['LLM_MANAGER_ADMIN_KEY']));
  expect(names).not.toEqual(expect.arrayContaining(['NODE_OPTIONS']));
  expect(readFileSync(`/proc/${engine.pid}/cmdline`, 'utf8')).not.toContain(engine.secret);
}

/** An engine whose service may be killed, and which then waits so long for another one. */
async function orphanOf({ graceMs }: { graceMs: number }): Promise<{ parent: ChildProcess; engine: EngineAddress }> {
  const parentMain = fileURLToPath(new URL('../../support/engine-parent.ts', import.meta.url));
  const parent = spawn(process.execPath, [parentMain, modelPath, join(bench.folder, 'orphan.log'), String(graceMs)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(parent.stdout, 'data')) as [Buffer];
  const engine = JSON.parse(line.toString()) as EngineAddress;
  expect(await isSameProcess(engine)).toBe(true);
  return { parent, engine };
}

async function killAndWait(parent: ChildProcess): Promise<void> {
  parent.kill('SIGKILL');
  await once(parent, 'exit');
}

describe('an engine whose service is killed', () => {
  it('ends by itself when the time for another one to come is over', async () => {
    const { parent, engine } = await orphanOf({ graceMs: 1 });
    await killAndWait(parent);
    await waitUntil(() => isSameProcess(engine), (isAlive) => !isAlive);
    expect(readFileSync(join(bench.folder, 'orphan.log'), 'utf8')).toContain('No service has taken this engine over');
  });

  it('serves on for the next one that has its secret, which may leave it to another or end it in order', async () => {
    const { parent, engine } = await orphanOf({ graceMs: 600_000 });
    await killAndWait(parent);
    const deps = { http: plainHttp, orphanGraceMs: 600_000 };
    await expect(adoptEngine({ ...engine, secret: 'wrong' }, deps, signal)).rejects.toThrow('401');
    expect(await adoptEngine({ ...engine, startTime: 'another' }, deps, signal)).toBeNull();
    const adopted = await adoptEngine(engine, deps, signal);
    const answer = await fetch(`http://127.0.0.1:${engine.port}${chat}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${engine.secret}`, 'content-type': 'application/json' },
      body: JSON.stringify({ ...hello, stream: false, max_tokens: 3 }),
    });
    expect([answer.status, await answer.json()]).toMatchObject([200, { usage: { completion_tokens: 3 } }]);
    await adopted?.release(600_000);
    const next = await adoptEngine(engine, deps, signal);
    await next?.stop(1_000);
    expect(await isSameProcess(engine)).toBe(false);
    expect(await adoptEngine(engine, deps, signal)).toBeNull();
  });

  it('ends when the one that took it over is gone as well', async () => {
    const { parent, engine } = await orphanOf({ graceMs: 600_000 });
    await killAndWait(parent);
    const adopted = await adoptEngine(engine, { http: plainHttp, orphanGraceMs: 600_000 }, signal);
    await adopted?.release(1);
    await waitUntil(() => isSameProcess(engine), (isAlive) => !isAlive);
  });
});

describe('endOrphan', () => {
  it('ends the process that it was told of and says so', async () => {
    const { parent, engine } = await orphanOf({ graceMs: 600_000 });
    await killAndWait(parent);
    expect(await endOrphan(engine, signal)).toBe(true);
    expect(await isSameProcess(engine)).toBe(false);
    expect(await endOrphan(engine, signal)).toBe(false);
  });

  it('kills one that does not end in time', async () => {
    const stubborn = spawn(process.execPath, ['-e', 'process.on("SIGTERM",()=>{});console.log(1);setInterval(()=>{},1000)'], { detached: true, stdio: ['ignore', 'pipe', 'ignore'] });
    await once(stubborn.stdout, 'data');
    const identity = await identifyProcess(stubborn.pid!);
    expect(await endOrphan(identity!, signal)).toBe(true);
    expect(await waitUntil(() => stubborn.signalCode, (code) => code !== null)).toBe('SIGKILL');
  });

  it('leaves a stranger with the same pid alone', async () => {
    const stranger = spawn(process.execPath, ['-e', 'console.log(1);setInterval(()=>{},1000)'], { detached: true, stdio: ['ignore', 'pipe', 'ignore'] });
    await once(stranger.stdout, 'data');
    expect(await endOrphan({ pid: stranger.pid!, startTime: 'another time' }, signal)).toBe(false);
    expect(await identifyProcess(stranger.pid!)).not.toBeNull();
    stranger.kill('SIGKILL');
    await once(stranger, 'exit');
    expect(await identifyProcess(stranger.pid!)).toBeNull();
  });
});
