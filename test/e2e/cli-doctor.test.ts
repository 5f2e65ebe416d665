import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { spawn } from 'node:child_process';
import { access, mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { runCommand, type Finished } from '../support/command-line.ts';
import { eventually } from '../support/eventually.ts';
import { createTemporaryFolder, type TemporaryFolder } from '../support/data-dir.ts';

type Check = { name: string; status: string; message: string; cure: string | null };

describe('commands that need no service', () => {
  let folder: TemporaryFolder;
  let everything: Server;
  let url: string;

  beforeAll(async () => {
    folder = await createTemporaryFolder('cli-doctor');
    everything = createServer((_req, res) => res.end('{}')).listen(0, '127.0.0.1');
    await once(everything, 'listening');
    url = `http://127.0.0.1:${(everything.address() as AddressInfo).port}`;
  });

  afterAll(async () => {
    everything.close();
    await folder.remove();
  });

  const command = (args: readonly string[], env: Record<string, string> = {}): Promise<Finished> =>
    runCommand(args, { dataDir: folder.path, env: { HF_ENDPOINT: url, LLM_MANAGER_OLLAMA_LIBRARY: url, LLM_MANAGER_OLLAMA_REGISTRY: url, OLLAMA_HOST: url, ...env } });

  async function doctor(env: Record<string, string> = {}): Promise<{ code: number | null; checks: Check[]; faults: Check[] }> {
    const { code, stdout } = await command(['doctor', '--json'], env);
    const { ok, checks } = JSON.parse(stdout) as { ok: boolean; checks: Check[] };
    const faults = checks.filter(({ status }) => status === 'fault');
    expect(ok).toBe(faults.length === 0);
    return { code, checks, faults };
  }

  it('find a machine without faults in order', async () => {
    const { code, checks, faults } = await doctor();
    expect({ code, faults }).toEqual({ code: 0, faults: [] });
    expect(checks.map(({ name }) => name)).toEqual(expect.arrayContaining(['node', 'configuration', 'data folder', 'database', 'engines', 'llama-server', 'Docker Engine', 'port', 'Hugging Face Hub', 'Ollama server']));
    expect((await command(['doctor'])).stdout).toMatch(/No faults\.\n$/);
  });

  it('name each fault and its cure, and end with 1', async () => {
    const taken = new URL(url).port;
    const file = path.join(folder.path, 'file');
    await writeFile(file, '');
    const nobody = 'http://127.0.0.1:1';
    const { code, faults } = await doctor({ LLM_MANAGER_PORT: taken, LLM_MANAGER_DATA_DIR: path.join(file, 'data'), HF_ENDPOINT: nobody, DATABASE_URL: `postgresql://user:secret-word@127.0.0.1:${taken}/x`, REDIS_URL: 'redis://:secret-word@127.0.0.1:1' });
    expect(code).toBe(1);
    expect(faults.map(({ name }) => name)).toEqual(['port', 'data folder', 'database', 'events', 'Hugging Face Hub']);
    for (const { message, cure } of faults) expect([message, cure].join(' ')).not.toContain('secret-word');
    expect(faults.every(({ cure }) => cure !== null)).toBe(true);
  });

  it('try the password of a real Redis, and the programs and daemons that are set', async () => {
    const redis = spawn('redis-server', ['--port', '0', '--unixsocket', path.join(folder.path, 'redis.sock'), '--requirepass', 'right', '--save', ''], { stdio: 'ignore', cwd: folder.path });
    try {
      await eventually('Redis listens', () => access(path.join(folder.path, 'redis.sock')).then(() => true, () => false));
      const eventsOf = async (password: string): Promise<Check | undefined> =>
        (await doctor({ REDIS_URL: `unix://${password}${path.join(folder.path, 'redis.sock')}` })).checks.find(({ name }) => name === 'events');
      expect(await eventsOf(':right@x')).toMatchObject({ status: 'ok', message: expect.stringMatching(/^Redis \d/) as unknown });
      expect(await eventsOf(':wrong@x')).toMatchObject({ status: 'fault', message: expect.stringContaining('refuses') as unknown });
      expect(await eventsOf('')).toMatchObject({ status: 'fault', message: expect.stringContaining('asks for a password') as unknown });
    } finally {
      redis.kill('SIGKILL');
      await once(redis, 'exit');
    }
    const { faults } = await doctor({ LLM_MANAGER_LLAMA_SERVER: '/nonexistent/llama-server', DOCKER_HOST: 'tcp://127.0.0.1:1', LLM_MANAGER_CLAMD: '127.0.0.1:1' });
    expect(faults.map(({ name }) => name)).toEqual(['llama-server', 'Docker Engine', 'ClamAV']);
  }, 60_000);

  it('name a setting that cannot be, where others end with wrong usage', async () => {
    const env = { LLM_MANAGER_PROT: '1' };
    const { code, faults } = await doctor(env);
    expect({ code, faults }).toMatchObject({ code: 1, faults: [{ name: 'configuration', message: expect.stringContaining('LLM_MANAGER_PORT') as unknown }] });
    expect(await command(['ls'], env)).toMatchObject({ code: 2 });
  });

  it('show the effective configuration with where it comes from, and no secret', async () => {
    await mkdir(folder.path, { recursive: true });
    await writeFile(path.join(folder.path, 'config.yaml'), 'downloads:\n  parallel: 7\n');
    const env = { HF_TOKEN: 'hf_secretword', DATABASE_URL: 'postgresql://user:secretword@h/x', LLM_MANAGER_ADMIN_KEY: 'secretword-secretword' };
    const { code, stdout } = await command(['config', '--json'], env);
    expect(code).toBe(0);
    const { settings } = JSON.parse(stdout) as { settings: { path: string; value: unknown; from: string }[] };
    const of = (name: string): unknown => settings.find((setting) => setting.path === name);
    expect(of('downloads.parallel')).toMatchObject({ value: 7, from: 'file' });
    expect(of('server.port')).toMatchObject({ value: 0, from: 'environment', env: 'LLM_MANAGER_PORT' });
    expect(of('database.url')).toMatchObject({ value: '[redacted]', from: 'environment' });
    expect(stdout + (await command(['config'], env)).stdout).not.toContain('secretword');
  });

  it('print their version as the last word of a line, and help with 0', async () => {
    expect((await command(['--version'])).stdout).toMatch(/ \d+\.\d+\.\d+\n$/);
    expect(await command(['pull', '--help'])).toMatchObject({ code: 0, stderr: '' });
    expect(await command(['completion', 'tcsh'])).toMatchObject({ code: 2, stdout: '' });
  });
});
