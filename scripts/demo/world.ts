/** What the demo works with: a Hub and an Ollama library on loopback, a folder of its own, and the service. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { startOwnService } from '../../src/cli/own-service.ts';
import { loadConfig } from '../../src/infrastructure/config/load-config.ts';
import { readAdminKey, findRunningServer } from '../../src/infrastructure/data-folder/folder-files.ts';
import { dataFolderAt } from '../../src/infrastructure/data-folder/data-folder.ts';
import { createHub } from '../../test/support/hub/hub.ts';
import { createOllamaLibrary } from '../../test/support/ollama/library.ts';
import { createOllamaRegistry } from '../../test/support/ollama/registry.ts';
import type { DemoModel } from './model.ts';

/** Ends in the reverse order of their beginning, whatever has begun. */
export type Deferred = { defer(end: () => Promise<void>): void };

export type DemoWorld = {
  readonly folder: string;
  readonly url: string;
  readonly key: string;
  /** Runs a command of the command line on what this process has as standard output; answers its exit code. */
  command(args: readonly string[], input: string | null, signal: AbortSignal): Promise<number>;
  /** Tells the service once more to end, which then waits for nothing. */
  hurry(): void;
};

const mainFile = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
/** Settings of whoever runs the demo: it must touch neither their database nor their models. */
const foreign = /^(LLM_MANAGER_.*|HF_.*|HUGGING.*|DATABASE_URL|REDIS_URL|DOCKER_HOST|OLLAMA_.*|NODE_OPTIONS)$/;

async function makeFolder(scope: Deferred): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'llm-manager-demo-'));
  scope.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  // The embedded PostgreSQL refuses root, and has to pass through as another user.
  if (process.getuid?.() === 0) await chmod(folder, 0o711);
  return folder;
}

/** The models' sources, on loopback; answers the environment in which the service takes them for the real ones. */
async function openSources({ repo, library, weights, bytesPerSecond }: DemoModel, scope: Deferred): Promise<Record<string, string>> {
  const hub = await createHub({ cdnBytesPerSecond: bytesPerSecond, repos: [repo] });
  scope.defer(() => hub.close());
  const pages = await createOllamaLibrary({ models: [library] });
  scope.defer(() => pages.close());
  const registry = await createOllamaRegistry({ models: [{ name: library.name, layers: [{ kind: 'model', content: weights }] }] });
  scope.defer(() => registry.close());
  return { HF_ENDPOINT: hub.endpoint, LLM_MANAGER_OLLAMA_LIBRARY: pages.endpoint, LLM_MANAGER_OLLAMA_REGISTRY: registry.endpoint };
}

async function runCommand(args: readonly string[], input: string | null, options: { env: NodeJS.ProcessEnv; cwd: string }, signal: AbortSignal): Promise<number> {
  // What a command says on the way belongs to what is shown, and in its order, also in a pipe.
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', mainFile, ...args], { ...options, stdio: [input === null ? 'ignore' : 'pipe', 1, 1] });
  const end = (): void => void child.kill('SIGTERM');
  signal.addEventListener('abort', end, { once: true });
  // A command that fails early reads nothing.
  child.stdin?.on('error', () => undefined).end(input);
  const [code] = (await once(child, 'exit')) as [number | null];
  signal.removeEventListener('abort', end);
  return code ?? 1;
}

/** Starts everything; what has begun is ended by `scope`, also when this throws. */
export async function openWorld(model: DemoModel, scope: Deferred, signal: AbortSignal): Promise<DemoWorld> {
  const folder = await makeFolder(scope);
  const dataDir = path.join(folder, 'data');
  const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)));
  const env = { ...own, ...(await openSources(model, scope)), HF_HOME: path.join(folder, 'huggingface'), LLM_MANAGER_DATA_DIR: dataDir };
  // Not the caller's folder, whose .env would count.
  const place = { env, cwd: folder };
  const service = await startOwnService({ config: loadConfig({ flags: {}, ...place }), flags: {}, ...place }, signal);
  scope.defer(() => service.stop());
  const data = dataFolderAt(dataDir);
  const [server, key] = await Promise.all([findRunningServer(data), readAdminKey(data)]);
  if (!server || key === null) throw new Error(`The service has ended; ${service.logFile} says why.`);
  return {
    folder, key,
    url: server.url,
    command: (args, input, until) => runCommand(args, input, place, until),
    hurry: () => void process.kill(service.pid, 'SIGTERM'),
  };
}
