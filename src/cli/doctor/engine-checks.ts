import { execFile } from 'node:child_process';
import { connect } from 'node:net';
import { once } from 'node:events';
import path from 'node:path';
import { promisify } from 'node:util';
import type { Endpoint } from '../../infrastructure/config/addresses.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import { isProgram, placesInPath } from '../../platform/programs.ts';
import { fault, ok, reasonOf, warning, type Check } from './check.ts';
import { withTimeout } from './network-checks.ts';

const run = promisify(execFile);
const versionMs = 10_000;

/** The `llama-server` that deployments would use: the set one, the one that was built here, one in PATH. */
export async function checkLlamaServer({ deployments, data }: Config, env: Readonly<Record<string, string | undefined>>, signal: AbortSignal): Promise<Check> {
  const name = 'llama-server';
  const { llamaServer } = deployments;
  if (llamaServer.kind === 'off') return ok(name, 'switched off: the embedded engine is used');
  const isSet = llamaServer.kind === 'path';
  const places = isSet ? [llamaServer.path] : [path.join(data.dir, 'engines', 'llama-server', 'bin', name), ...placesInPath(name, env['PATH'])];
  for (const file of places) {
    if (!(await isProgram(file))) continue;
    try {
      const { stdout, stderr } = await run(file, ['--version'], { timeout: versionMs, signal });
      const version = /^version:\s*(.+)$/m.exec(`${stdout}\n${stderr}`)?.[1];
      if (version !== undefined) return ok(name, `${version}, ${file}`);
    } catch {
      signal.throwIfAborted();
    }
    const cure = isSet ? 'Set LLM_MANAGER_LLAMA_SERVER to one that works, or to "off".' : 'Build it with "llm-manager engines build llama-server", or remove it.';
    return (isSet ? fault : warning)(name, `${file} cannot be used: it does not tell its version`, cure);
  }
  if (isSet) return fault(name, `${llamaServer.path} is not there, or may not be run`, 'Set LLM_MANAGER_LLAMA_SERVER to its path, or to "off".');
  return ok(name, 'none: the embedded engine is used ("llm-manager engines build llama-server" makes a faster one)');
}

function place(endpoint: Endpoint): string {
  return endpoint.kind === 'socket' ? endpoint.path : `${endpoint.host}:${endpoint.port}`;
}

/** What the program at the endpoint says first to what is said to it. */
async function ask(endpoint: Endpoint, question: string, signal: AbortSignal): Promise<string> {
  const socket = connect(endpoint.kind === 'socket' ? { path: endpoint.path } : endpoint);
  try {
    socket.write(question);
    const [answer] = (await once(socket, 'data', { signal })) as [Buffer];
    return answer.toString('latin1');
  } finally {
    socket.destroy();
  }
}

type Daemon = { name: string; endpoint: Endpoint; question: string; answer: RegExp; setting: string; bad: typeof fault };

async function checkDaemon({ name, endpoint, question, answer, setting, bad }: Daemon, signal: AbortSignal): Promise<Check> {
  try {
    if (answer.test(await ask(endpoint, question, withTimeout(signal)))) return ok(name, `answers at ${place(endpoint)}`);
    return bad(name, `what answers at ${place(endpoint)} is something else`, `Check ${setting}.`);
  } catch (error) {
    signal.throwIfAborted();
    return bad(name, `not reachable at ${place(endpoint)} (${reasonOf(error)})`, `Start it, or check ${setting}.`);
  }
}

/** Docker and ClamAV: what was set must be there; a Docker that nobody named is something that one may have. */
export async function checkDaemons({ docker, downloads, origins }: Config, signal: AbortSignal): Promise<Check[]> {
  const isDockerSet = (origins['docker.host']?.from ?? 'default') !== 'default';
  const daemons: Daemon[] = [
    { name: 'Docker Engine', endpoint: docker.host, question: 'GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n', answer: /^HTTP\/1\.1 200[\s\S]*Api-Version/i, setting: 'DOCKER_HOST (only deployments on Docker need it)', bad: isDockerSet ? fault : warning },
    ...(downloads.clamd ? [{ name: 'ClamAV', endpoint: downloads.clamd, question: 'zPING\0', answer: /^PONG/, setting: 'LLM_MANAGER_CLAMD', bad: fault }] : []),
  ];
  return await Promise.all(daemons.map((daemon) => checkDaemon(daemon, signal)));
}
