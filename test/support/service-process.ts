import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from './eventually.ts';

const mainFile = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

export type ServiceOptions = { dataDir: string; env?: Readonly<Record<string, string>>; args?: readonly string[] };

/** The service as its users run it: a process of its own that others reach by its files and its port only. */
export type ServiceProcess = {
  readonly pid: number;
  readonly url: string;
  readonly key: string;
  output(): string;
  /** Sends the signal and waits for the end. */
  end(signal?: NodeJS.Signals): Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** True until the process has ended. */
  isAlive(): boolean;
};

/** Nothing of the developer's own environment may steer what is tested. */
export function serviceEnvironment(dataDir: string, env: Readonly<Record<string, string>> = {}): Record<string, string> {
  return {
    PATH: process.env['PATH'] ?? '',
    HOME: dataDir,
    LLM_MANAGER_DATA_DIR: dataDir,
    LLM_MANAGER_PORT: '0',
    LLM_MANAGER_LLAMA_SERVER: 'off',
    HF_HOME: path.join(dataDir, 'hf'),
    // Nothing outside the machine is asked: these answer at once that nobody is there.
    HF_ENDPOINT: 'http://127.0.0.1:9',
    LLM_MANAGER_OLLAMA_LIBRARY: 'http://127.0.0.1:9',
    LLM_MANAGER_OLLAMA_REGISTRY: 'http://127.0.0.1:9',
    ...env,
  };
}

export function spawnService(options: ServiceOptions): { child: ChildProcess; output: () => string } {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', mainFile, 'serve', ...(options.args ?? [])], {
    env: serviceEnvironment(options.dataDir, options.env),
    cwd: options.dataDir,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  const collect = (chunk: Buffer): void => {
    text = (text + chunk.toString('utf8')).slice(-200_000);
  };
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  return { child, output: () => text };
}

/** Resolves when `server.json` names the new process and `/ready` answers 200; rejects with the output when it ends first. */
export async function startService(options: ServiceOptions): Promise<ServiceProcess> {
  const { child, output } = spawnService(options);
  const pid = child.pid ?? -1;
  const exited = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  const read = (name: string): Promise<string> => readFile(path.join(options.dataDir, name), 'utf8');
  const url = await eventually('the service is ready', async () => {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`the service ended: ${output()}`);
    const server = JSON.parse(await read('server.json').catch(() => 'null')) as { pid: number; url: string } | null;
    if (server?.pid !== pid) return null;
    const ready = await fetch(`${server.url}/ready`).catch(() => null);
    return ready?.status === 200 ? server.url : null;
  }, 60_000);
  const key = (await read('admin.key')).trim();
  return {
    pid,
    url,
    key,
    output,
    async end(signal = 'SIGTERM') {
      child.kill(signal);
      const [code, endedBy] = await exited;
      return { code, signal: endedBy };
    },
    isAlive: () => child.exitCode === null && child.signalCode === null,
  };
}
