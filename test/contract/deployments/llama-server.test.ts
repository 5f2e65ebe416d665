import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import { claimEngines, extendGuard, guardEngine } from '../../../src/domains/deployments/runtimes/llama-cpp/llama-server/guard.ts';
import { startLlamaServer } from '../../../src/domains/deployments/runtimes/llama-cpp/llama-server/server-process.ts';
import type { LocalEngine } from '../../../src/domains/deployments/runtimes/llama-cpp/local-engine.ts';
import type { EngineOptions } from '../../../src/domains/deployments/runtimes/llama-cpp/protocol.ts';
import { isSameProcess } from '../../../src/platform/process-identity.ts';
import { readEvents } from '../../support/engine.ts';
import { eventually } from '../../support/eventually.ts';
import { llamaServers } from '../../support/llama-servers.ts';
import { plainHttp } from '../../support/plain-http.ts';
import { isAlive } from '../../support/processes.ts';
import { buildTinyGguf } from '../../support/tiny-gguf.ts';

const folder = mkdtempSync(join(tmpdir(), 'llmm-llama-server-'));
const runDir = join(folder, 'run');
const modelPath = join(folder, 'loop.gguf');
writeFileSync(modelPath, buildTinyGguf({ mode: 'loop' }));
const logFile = join(folder, 'engine.out');
const never = new AbortController().signal;
const engines: LocalEngine[] = [];

afterEach(async () => {
  for (const engine of engines.splice(0)) {
    engine.kill();
    await engine.onExit;
  }
});
afterAll(() => rm(folder, { recursive: true }));

async function start(program: string, options: Partial<EngineOptions> = {}, environment: Record<string, string> = {}): Promise<LocalEngine> {
  const logFd = openSync(logFile, 'a');
  try {
    const engine = { modelPath, modelName: 'loop', port: 0, contextSize: 256, parallel: 2, threads: 1, gpuLayers: 0, queueMax: 4, drainMs: 10_000, orphanGraceMs: 60_000, ...options };
    const started = await startLlamaServer({ program, engine, extraArgs: ['--batch-size', '64'], deploymentId: 'life', runDir, logFd, environment, http: plainHttp, onSpawn: () => undefined }, never);
    engines.push(started);
    return started;
  } finally {
    closeSync(logFd);
  }
}

function ask(engine: LocalEngine, maxTokens: number): Promise<Response> {
  return fetch(`http://127.0.0.1:${engine.port}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${engine.secret}`, 'content-type': 'application/json' },
    body: JSON.stringify({ messages: [{ role: 'user', content: 'Hi' }], max_tokens: maxTokens, stream: true, temperature: 0 }),
  });
}

async function isBusy(engine: LocalEngine): Promise<boolean> {
  const slots = (await (await fetch(`http://127.0.0.1:${engine.port}/slots`, { headers: { authorization: `Bearer ${engine.secret}` } })).json()) as { is_processing: boolean }[];
  return slots.some((slot) => slot.is_processing);
}

describe.each(llamaServers(folder))('$name', ({ path }) => {
  it('keeps its secret and its context: the key by a private file that goes with it, none of the variables of the service but the named ones', async () => {
    process.env['LLM_MANAGER_ADMIN_KEY'] = 'not for engines';
    const engine = await start(path, { contextSize: 256, parallel: 2 }, { OMP_NUM_THREADS: '1' });
    delete process.env['LLM_MANAGER_ADMIN_KEY'];
    expect(readFileSync(`/proc/${engine.pid}/cmdline`, 'utf8').split('\0')).toEqual(expect.arrayContaining(['--batch-size', '64']));
    // Of each parallel answer.
    expect(engine.contextSize).toBe(256);
    const keyFile = join(runDir, 'life.key');
    expect(statSync(keyFile).mode & 0o777).toBe(0o600);
    expect(statSync(runDir).mode & 0o777).toBe(0o700);
    expect(readFileSync(keyFile, 'utf8').trim()).toBe(engine.secret);
    for (const about of ['cmdline', 'environ']) expect(readFileSync(`/proc/${engine.pid}/${about}`, 'utf8')).not.toContain(engine.secret);
    const environment = readFileSync(`/proc/${engine.pid}/environ`, 'utf8');
    expect(environment).not.toContain('not for engines');
    expect(environment).toContain('OMP_NUM_THREADS=1');
    const keyless = await fetch(`http://127.0.0.1:${engine.port}/v1/chat/completions`, { method: 'POST', body: '{}' });
    expect([keyless.status, await keyless.text()]).toEqual([401, expect.any(String)]);
    await engine.stop(0);
    expect(readdirSync(runDir)).not.toContain('life.key');
  });

  it('lets a running answer end before it stops', async () => {
    const engine = await start(path);
    const response = await ask(engine, 40);
    await eventually('it answers', () => isBusy(engine));
    const stopped = engine.stop(20_000);
    const events: string[] = [];
    for await (const event of readEvents(response)) events.push(event);
    expect(events.at(-1)).toBe('[DONE]');
    expect(await stopped).toMatchObject({ signal: null });
  });

  it('frees its slot when the caller goes away, and does not wait for answers when the stop is to be quick', async () => {
    const engine = await start(path);
    const left = await ask(engine, 100_000);
    await eventually('it answers', () => isBusy(engine));
    await left.body?.cancel();
    await eventually('the slot is free', async () => !(await isBusy(engine)));
    const response = await ask(engine, 100_000);
    await eventually('it answers', () => isBusy(engine));
    await engine.stop(0);
    await expect(response.text()).rejects.toThrow();
    expect(await isSameProcess(engine)).toBe(false);
  });

  it('says that its port is taken', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const address = other.address();
    const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
    await expect(start(path, { port })).rejects.toMatchObject({ code: 'PORT_IN_USE' });
    other.close();
  });
});

describe('the guard of an engine', () => {
  it('waits for the next service as long as the last one has said', async () => {
    const service = spawn('sleep', ['60'], { stdio: 'ignore' });
    const engine = spawn('sleep', ['60'], { stdio: 'ignore', detached: true });
    const ended = once(engine, 'exit');
    await claimEngines(runDir);
    writeFileSync(join(runDir, 'service.pid'), `${service.pid}\n`);
    guardEngine(runDir, engine.pid ?? 0, 1_000_000);
    await extendGuard(runDir, engine.pid ?? 0, 1_000);
    service.kill('SIGKILL');
    expect(await ended).toEqual([null, 'SIGKILL']);
    await eventually('nothing is left of it', () => !readdirSync(runDir).includes(`service.pid.${engine.pid ?? 0}`));
  });

  it('ends the engine when its service has been gone for the grace time, and only then', async () => {
    const service = spawn('sleep', ['60'], { stdio: 'ignore' });
    const engine = spawn('sleep', ['60'], { stdio: 'ignore', detached: true });
    await claimEngines(runDir);
    writeFileSync(join(runDir, 'service.pid'), `${service.pid}\n`);
    const end = guardEngine(runDir, engine.pid ?? 0, 2);
    const ended = once(engine, 'exit');
    await eventually('the guard watches', () => readFileSync(`/proc/${engine.pid}/stat`, 'utf8').length > 0);
    expect(isAlive(engine.pid ?? 0)).toBe(true);
    service.kill('SIGKILL');
    expect(await ended).toEqual([null, 'SIGKILL']);
    end();
  });

  it('goes with its engine', async () => {
    await claimEngines(runDir);
    const engine = spawn('sleep', ['60'], { stdio: 'ignore', detached: true });
    const end = guardEngine(runDir, engine.pid ?? 0);
    engine.kill('SIGKILL');
    await once(engine, 'exit');
    end();
    end();
    expect(isAlive(engine.pid ?? 0)).toBe(false);
  });
});

const canBeSomebodyElse = process.platform === 'linux' && process.getuid?.() === 0;

(canBeSomebodyElse ? it : it.skip)('does not take the server of another account for its own, nor tell it the key, when that was quicker to take the port', async () => {
  const thief = spawn(process.execPath, ['--eval', `
    process.setgid(65534); process.setuid(65534);
    const server = require('node:http').createServer((request, response) => {
      if (request.headers.authorization) console.log('key');
      response.end(request.url === '/slots' ? '[{"is_processing":false,"n_ctx":256}]' : '{"status":"ok"}');
    });
    server.listen(0, '127.0.0.1', () => console.log(server.address().port));
  `], { stdio: ['ignore', 'pipe', 'inherit'] });
  let told = '';
  thief.stdout.on('data', (chunk: Buffer) => (told += chunk.toString()));
  await eventually('the thief listens', () => told.includes('\n'));
  const program = join(folder, 'cannot-bind');
  writeFileSync(program, `#!${process.execPath}\nsetTimeout(() => process.exit(1), 500);\n`, { mode: 0o700 });
  await expect(start(program, { port: Number(told.trim()) })).rejects.toMatchObject({ code: 'PORT_IN_USE' });
  expect(told).not.toContain('key');
  thief.kill();
});
