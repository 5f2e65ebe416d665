/** The processes that a bench of streams needs beside itself, each ended by `close`. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { startService, type ServiceProcess } from '../test/support/service-process.ts';

export type Program = { url: string; pid: number; close(): void };

/** A program of this folder that prints its port. */
export async function startProgram(file: string, ...args: string[]): Promise<Program> {
  const child: ChildProcess = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', fileURLToPath(new URL(file, import.meta.url)), ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  if (!child.stdout || child.pid === undefined) throw new Error(`${file} did not start`);
  const [port] = (await once(child.stdout, 'data')) as [Buffer];
  return { url: `http://127.0.0.1:${port.toString('utf8').trim()}`, pid: child.pid, close: () => void child.kill() };
}

/** Processor time of a process so far. */
export async function cpuMsOf(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
  // In ticks of 10 ms: user and system.
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

export type ServedEngine = ServiceProcess & { deploymentId: string; close(): Promise<void> };

/** A service of its own with the engine as its only deployment, named `fake`. */
export async function serveEngine(engineUrl: string, redisUrl: string | null, env: Readonly<Record<string, string>> = {}): Promise<ServedEngine> {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'llmm-bench-'));
  const nodeOptions = process.env['BENCH_NODE_OPTIONS'];
  const service = await startService({ dataDir, env: { LLM_MANAGER_LOG_LEVEL: 'warn', ...(nodeOptions !== undefined && { NODE_OPTIONS: nodeOptions }), ...(redisUrl !== null && { REDIS_URL: redisUrl }), ...env } });
  const close = async (): Promise<void> => {
    await service.end('SIGTERM');
    await rm(dataDir, { recursive: true, force: true });
  };
  try {
    return { ...service, deploymentId: await deploy(service, engineUrl), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function deploy(service: ServiceProcess, engineUrl: string): Promise<string> {
  const headers = { authorization: `Bearer ${service.key}`, 'content-type': 'application/json' };
  const started = await fetch(`${service.url}/api/deployments/start`, { method: 'POST', headers, body: JSON.stringify({ runtime: 'remote', name: 'fake', config: { base_url: engineUrl } }) });
  const { deployment } = (await started.json()) as { deployment: { deployment_id: string } };
  for (;;) {
    const answer = await fetch(`${service.url}/api/deployments/${deployment.deployment_id}/status`, { headers });
    if (((await answer.json()) as { deployment: { status: string } }).deployment.status === 'running') return deployment.deployment_id;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
