import { stat } from 'node:fs/promises';
import path from 'node:path';
import { AppError, isAppError, type FieldFault } from '../../../../shared/errors.ts';
import { defaultContextSize } from '../../../../shared/gguf/fit-policy.ts';
import { GgufError } from '../../../../shared/gguf/errors.ts';
import type { StreamingHttp } from '../../../../shared/streaming-http.ts';
import type { ModelRuntime, OwnModel, RunningModel, RuntimeExit, RuntimeHandle, RuntimeStart } from '../../runtime.ts';
import type { DeploymentConfig, DeploymentUseView, EngineInfo, RuntimeInfo } from '../../types.ts';
import { readModelFile } from '../llama-cpp/model-file.ts';
import { createOllamaChat } from './ollama-chat.ts';
import { completeName, digestOf, loadOptionsOf, OllamaServer, type LoadOptions } from './ollama-server.ts';

export type OllamaRuntimeDeps = {
  /** The server as the operator has set it, or where Ollama's own tools look for it. */
  host: string;
  /** For answers. */
  http: StreamingHttp;
  /** For everything else: what the client library is made for. */
  fetch: typeof fetch;
};

export const ollamaRuntimeId = 'ollama';

const unusable: readonly { key: keyof DeploymentConfig; field: string; why: string }[] = [
  { key: 'port', field: 'config.port', why: 'cannot be set: the Ollama server has its own' },
  { key: 'gpuDevices', field: 'config.gpu_devices', why: 'cannot be set: the Ollama server chooses its graphics cards' },
  { key: 'memoryLimitBytes', field: 'config.memory_limit_bytes', why: 'is for runtimes that run containers' },
  { key: 'cpuLimit', field: 'config.cpu_limit', why: 'is for runtimes that run containers; set threads instead' },
  { key: 'environment', field: 'config.environment', why: 'cannot be set: the Ollama server runs already' },
  { key: 'image', field: 'config.image', why: 'is for runtimes that run containers' },
  { key: 'extraArgs', field: 'config.extra_args', why: 'is for runtimes that run a command' },
  { key: 'baseUrl', field: 'config.base_url', why: 'is for the runtime remote only; OLLAMA_HOST names the server' },
  { key: 'model', field: 'config.model', why: 'is for the runtime remote only' },
];

/** The server takes one file a model. */
const splitFile = /-\d{5}-of-\d{5}\.gguf$/i;

/** Lets an Ollama server run an installed GGUF, one made from it there, or a model that it has by itself; loaded with fixed options. */
export function createOllamaRuntime(deps: OllamaRuntimeDeps): ModelRuntime {
  const server = new OllamaServer(deps.host, deps.fetch);
  const users = new ModelUsers(server);
  const common = { id: ollamaRuntimeId, name: 'Ollama', needsModel: true, formats: ['gguf'] };
  return {
    id: ollamaRuntimeId,
    name: common.name,
    capabilities: { needsModel: true, formats: common.formats, adminOnly: false },
    // Restarting means asking again: that is worth going on with for as long as the server is away.
    defaults: { restart: { policy: 'always', maxRetries: 100 } },
    probe: async (signal): Promise<RuntimeInfo> => ({ ...common, ...(await probe(server, signal)) }),
    validate: (config): readonly FieldFault[] => unusable.flatMap(({ key, field, why }) => (config[key] === undefined ? [] : [{ field, message: why }])),
    ownModels: { source: 'ollama', find: (name, signal) => server.find(name, signal), list: (signal) => listOwn(server, signal) },
    start: (request, signal) => start({ server, users, http: deps.http }, request, signal),
    reach: ({ model, contextSize, config }) => (contextSize === null ? undefined : createOllamaChat({ http: deps.http, host: server.host, model, load: loadOptionsOf(config, contextSize) })),
    endOrphan: async ({ containerId: model }, signal) => {
      if (model !== null) await server.unload(model, signal);
    },
  };
}

/** Whoever lists what can be used does not wait longer for a server that hangs. */
const probeMsMax = 2_000;

async function probe(server: OllamaServer, signal: AbortSignal): Promise<Pick<RuntimeInfo, 'available' | 'version' | 'detail' | 'engines'>> {
  const engine = { id: 'ollama', name: `Ollama at ${server.host}` };
  try {
    const { version, warning } = await server.assertUsable(AbortSignal.any([signal, AbortSignal.timeout(probeMsMax)]));
    const engines: EngineInfo[] = [{ ...engine, available: true, inUse: true, version, detail: warning, remedy: null }];
    return { available: true, version, detail: warning ?? `Runs on ${engine.name}.`, engines };
  } catch (error) {
    signal.throwIfAborted();
    const detail = isAppError(error) ? error.message : `The Ollama server at ${server.host} does not answer.`;
    const remedy = 'Install Ollama from https://ollama.com/download and start it (`ollama serve`), or set OLLAMA_HOST to a server that runs.';
    return { available: false, version: null, detail, engines: [{ ...engine, available: false, inUse: false, version: null, detail, remedy }] };
  }
}

/** Deployments share what the server has loaded, so the last one that stops unloads it. */
class ModelUsers {
  readonly #server: OllamaServer;
  readonly #users = new Map<string, Set<symbol>>();

  constructor(server: OllamaServer) {
    this.#server = server;
  }

  /** Answers what ends the use; a second call does nothing, and a server that is away has nothing to unload. */
  use(model: string): (signal: AbortSignal) => Promise<void> {
    const me = Symbol(model);
    const users = this.#users.get(model) ?? new Set();
    this.#users.set(model, users.add(me));
    return async (signal) => {
      if (!users.delete(me) || users.size > 0) return;
      this.#users.delete(model);
      await this.#server.unload(model, signal).catch(() => undefined);
    };
  }
}

type Parts = { server: OllamaServer; users: ModelUsers; http: StreamingHttp };

/** For the unloading after a stop that was not to wait. */
const unloadMsMax = 5_000;

async function start({ server, users, http }: Parts, request: RuntimeStart, signal: AbortSignal): Promise<RunningModel> {
  signal.throwIfAborted();
  const { warning } = await server.assertUsable(signal);
  if (warning !== null) request.log('supervisor', 'warn', warning);
  const { model, load, ensure } = await toServe(server, request, signal);
  const handle: RuntimeHandle = { runtime: ollamaRuntimeId, pid: null, startTime: null, containerId: model };
  await request.onHandle(handle);
  const end = users.use(model);
  try {
    await ensure();
    await server.load(model, load, signal);
    request.log('supervisor', 'info', await describe(server, model, signal));
  } catch (error) {
    await end(AbortSignal.timeout(unloadMsMax));
    signal.throwIfAborted();
    throw isAppError(error) ? error : new AppError('START_FAILED', `Ollama did not load the model: ${reasonOf(error)}`, { cause: error });
  }
  return toRunningModel({ server, http, model, load, handle, end });
}

const madePrefix = 'llm-manager-';

/** The same name for the same bytes, so that no second copy is made at the next start. */
const modelName = (hash: string): string => completeName(`${madePrefix}${hash.slice(0, 24)}`);

type ToServe = { model: string; load: LoadOptions & { num_ctx: number }; /** Makes it where the server does not have it. */ ensure: () => Promise<void> };

async function toServe(server: OllamaServer, request: RuntimeStart, signal: AbortSignal): Promise<ToServe> {
  const { modelPath, ownModel, config } = request;
  if (modelPath !== null) {
    const load = await loadOptions(request, modelPath);
    const model = modelName((await digestOf(modelPath, signal)).replace('sha256:', ''));
    return { model, load, ensure: () => ensureModel({ server, model, modelPath }, request, signal) };
  }
  const own = ownModel === undefined ? null : await server.find(ownModel, signal);
  if (own === null) throw new AppError('MODEL_NOT_INSTALLED', `The Ollama server has no model ${ownModel ?? ''} any more.`);
  const load = loadOptionsOf(config, config.contextSize ?? defaultContextSize(await server.contextLength(own.name, signal)));
  return { model: own.name, load, ensure: () => Promise.resolve() };
}

async function listOwn(server: OllamaServer, signal: AbortSignal): Promise<readonly OwnModel[]> {
  return (await server.models(signal)).filter(({ name }) => !name.startsWith(madePrefix));
}

async function loadOptions({ config }: RuntimeStart, modelPath: string): Promise<LoadOptions & { num_ctx: number }> {
  if (splitFile.test(path.basename(modelPath))) throw new AppError('UNSUPPORTED_MODEL', 'Ollama cannot load a model that is split into several files.');
  // Before any native code sees the file: llama.cpp trusts the sizes that a header gives.
  const { header } = await readModelFile(modelPath).catch((cause: unknown) => {
    throw new AppError('UNSUPPORTED_MODEL', `The model's file cannot be used: ${cause instanceof GgufError ? cause.message : 'it cannot be opened'}`, { cause });
  });
  return loadOptionsOf(config, config.contextSize ?? defaultContextSize(header.contextLength));
}

async function ensureModel(wanted: { server: OllamaServer; model: string; modelPath: string }, request: RuntimeStart, signal: AbortSignal): Promise<void> {
  const { server, model, modelPath } = wanted;
  if (await server.has(model, signal)) return;
  const { size } = await stat(modelPath);
  request.log('supervisor', 'info', `Making ${model} from ${path.basename(modelPath)}: the Ollama server keeps a copy of its own, so that its ${Math.round(size / 1024 / 1024)} MiB are on the disk twice.`);
  await server.createFrom(modelPath, model, (step) => request.log('stdout', 'info', step), signal);
}

async function describe(server: OllamaServer, model: string, signal: AbortSignal): Promise<string> {
  const loaded = (await server.loaded(signal)).find(({ name }) => name === model);
  if (!loaded) return `${model} is loaded.`;
  const share = loaded.size > 0 ? Math.round((loaded.size_vram / loaded.size) * 100) : 0;
  return `${model} is loaded: ${Math.round(loaded.size / 1024 / 1024)} MiB, ${share === 0 ? 'on the processor' : `${share} % on the graphics card`}.`;
}

type Running = { server: OllamaServer; http: StreamingHttp; model: string; load: LoadOptions & { num_ctx: number }; handle: RuntimeHandle; end: (signal: AbortSignal) => Promise<void> };

function toRunningModel({ server, http, model, load, handle, end }: Running): RunningModel {
  return {
    baseUrl: server.host,
    model,
    headers: {},
    http: createOllamaChat({ http, host: server.host, model, load }),
    contextSize: load.num_ctx,
    handle,
    // The server is somebody else's; that it has gone is found by the checks.
    exited: Promise.withResolvers<RuntimeExit>().promise,
    check: async (signal) => {
      // Not whether it is loaded: the server may put it aside for another one, and loads it again when it is asked.
      if (!(await server.has(model, signal))) throw new Error(`the Ollama server has no model ${model} any more`);
    },
    use: () => useOf(server, model),
    // The server lets running answers end before it unloads.
    stop: (drainMs, signal) => end(AbortSignal.any([signal, AbortSignal.timeout(Math.max(drainMs, unloadMsMax))])),
  };
}

async function useOf(server: OllamaServer, model: string): Promise<DeploymentUseView> {
  const loaded = (await server.loaded(AbortSignal.timeout(unloadMsMax))).find(({ name }) => name === model);
  return { cpuPercent: null, memoryBytes: loaded ? loaded.size - loaded.size_vram : null, gpuMemoryBytes: loaded ? loaded.size_vram : null };
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : 'no reason is known';
}
