import { open } from 'node:fs/promises';
import * as z from 'zod';
import { AppError, type ErrorCode, type FieldFault } from '../../../../shared/errors.ts';
import type { OutgoingHttp } from '../../../../shared/outgoing-http.ts';
import { defaultParallel } from '../../../../shared/gguf/fit-policy.ts';
import type { ModelRuntime, RunningModel, RuntimeAdoption, RuntimeExit, RuntimeHandle, RuntimeStart } from '../../runtime.ts';
import type { DeploymentConfig, RuntimeInfo } from '../../types.ts';
import { argumentFaults, llamaServerArguments } from '../extra-arguments.ts';
import { ProcessMeter } from '../process-use.ts';
import { adoptEngine } from './adopted-engine.ts';
import { endOrphan, startEngine } from './engine-process.ts';
import { EngineStartError } from './engine-start-error.ts';
import { probeLlamaCpp } from './engines.ts';
import type { LlamaServerFinder } from './llama-server/binary.ts';
import { adoptLlamaServer, startLlamaServer } from './llama-server/server-process.ts';
import type { EngineExit, LocalEngine } from './local-engine.ts';
import { VariantTrials } from './variant-trials.ts';
import type { ProcessIdentity } from '../../../../platform/process-identity.ts';
import { engineExitCodes, type EngineFailureCode, type EngineOptions } from './protocol.ts';

export type LlamaCppRuntimeDeps = {
  http: OutgoingHttp;
  /** `runDir`: a private folder, for the keys of running servers. Without this there is only the embedded engine. */
  llamaServer?: { finder: LlamaServerFinder; runDir: string };
  /** Bytes that a process holds on graphics cards; null where that cannot be told. */
  gpuMemoryOf?: (pid: number) => Promise<number | null>;
  /** How long an engine goes on serving without a service; default 60 s. */
  orphanGraceMs?: number;
};

export const llamaCppRuntimeId = 'llama-cpp';

/** Requests that may wait for each answer that runs. */
const queuePerAnswer = 16;
const drainMs = 30_000;
const healthBytesMax = 4_096;
const orphanGraceMsDefault = 60_000;
/** What a service that was told to keep its engines gives the next one: an upgrade may take its time. */
const keptGraceMs = 3_600_000;

/** Options of GPU back ends and of thread placement; others of these families load code (GGML_BACKEND_PATH, OMP_TOOL_LIBRARIES). */
const environmentNames = new Set([
  'CUDA_VISIBLE_DEVICES', 'HIP_VISIBLE_DEVICES', 'ROCR_VISIBLE_DEVICES', 'GGML_VK_VISIBLE_DEVICES', 'GGML_CUDA_ENABLE_UNIFIED_MEMORY', 'GGML_CUDA_FORCE_MMQ',
  'GGML_CUDA_NO_PINNED', 'OMP_NUM_THREADS', 'OMP_PROC_BIND', 'OMP_PLACES', 'OMP_WAIT_POLICY', 'OMP_SCHEDULE', 'OMP_DYNAMIC',
]);

const keepsakeSchema = z.object({ program: z.enum(['embedded', 'llama-server']), port: z.int(), secret: z.string(), contextSize: z.int(), model: z.string() });

const unusable: readonly { key: keyof DeploymentConfig; field: string; why: string }[] = [
  { key: 'image', field: 'config.image', why: 'is for runtimes that run containers' },
  { key: 'memoryLimitBytes', field: 'config.memory_limit_bytes', why: 'is for runtimes that run containers' },
  { key: 'cpuLimit', field: 'config.cpu_limit', why: 'is for runtimes that run containers; set threads instead' },
  { key: 'baseUrl', field: 'config.base_url', why: 'is for the runtime remote only' },
  { key: 'model', field: 'config.model', why: 'is for the runtime remote only' },
];

const failureCodes: Record<EngineFailureCode, ErrorCode> = {
  MODEL_INVALID: 'UNSUPPORTED_MODEL',
  PORT_IN_USE: 'PORT_IN_USE',
  OUT_OF_MEMORY: 'MODEL_DOES_NOT_FIT',
  ENGINE_UNAVAILABLE: 'RUNTIME_UNAVAILABLE',
  INTERNAL: 'START_FAILED',
};

/** Runs a GGUF with llama.cpp in a process of its own, one a deployment: with llama-server where there is one, else embedded. */
export function createLlamaCppRuntime(deps: LlamaCppRuntimeDeps): ModelRuntime {
  const trials = new VariantTrials();
  const common = { id: llamaCppRuntimeId, name: 'llama.cpp', needsModel: true, formats: ['gguf'] };
  return {
    id: common.id,
    name: common.name,
    capabilities: { needsModel: true, formats: common.formats, adminOnly: false },
    probe: async (): Promise<RuntimeInfo> => ({ ...common, ...(await probeLlamaCpp(deps.llamaServer?.finder ?? null, trials)) }),
    validate,
    start: (request, signal) => start(deps, request, signal),
    adopt: (request, signal) => adopt(deps, request, signal),
    endOrphan: async (handle, signal) => {
      if (handle.pid !== null && handle.startTime !== null) await endOrphan({ pid: handle.pid, startTime: handle.startTime }, signal);
    },
  };
}

function validate(config: DeploymentConfig): readonly FieldFault[] {
  const faults = unusable.flatMap(({ key, field, why }) => (config[key] === undefined ? [] : [{ field, message: why }]));
  for (const name of Object.keys(config.environment ?? {})) {
    if (!environmentNames.has(name)) faults.push({ field: `config.environment.${name}`, message: `is not one that this runtime takes: ${[...environmentNames].join(', ')}` });
  }
  if (config.gpuDevices !== undefined && config.environment?.['CUDA_VISIBLE_DEVICES'] !== undefined) {
    faults.push({ field: 'config.gpu_devices', message: 'and CUDA_VISIBLE_DEVICES exclude each other' });
  }
  return [...faults, ...argumentFaults(config.extraArgs ?? [], llamaServerArguments)];
}

async function start(deps: LlamaCppRuntimeDeps, request: RuntimeStart, signal: AbortSignal): Promise<RunningModel> {
  const { config, modelPath } = request;
  if (modelPath === null) throw new AppError('START_FAILED', 'There is no model file to start.');
  const environment = { ...config.environment, ...visibleDevices(config.gpuDevices) };
  await using file = await open(request.logFile, 'a', 0o600);
  let stored: Promise<void> = Promise.resolve();
  try {
    const onSpawn = (identity: ProcessIdentity): void => {
      stored = request.onHandle(toHandle(identity));
      // Awaited below; until then its failure must not count as unhandled.
      stored.catch(() => undefined);
    };
    const options = engineOptions(request, modelPath, deps.orphanGraceMs ?? orphanGraceMsDefault);
    const engine = await startAny({ deps, request, common: { engine: options, logFd: file.fd, environment, onSpawn } }, signal);
    await stored.catch(async (error: unknown) => {
      await engine.stop(0);
      throw error;
    });
    return toRunningModel(engine, request.name, deps);
  } catch (error) {
    if (error instanceof EngineStartError) throw new AppError(failureCodes[error.code], error.message, { cause: error });
    throw error;
  }
}

/** Each maker's own variable: the back end of another one does not look at it. */
function visibleDevices(devices: DeploymentConfig['gpuDevices']): Record<string, string> {
  const list = devices?.join(',');
  return list === undefined ? {} : { CUDA_VISIBLE_DEVICES: list, HIP_VISIBLE_DEVICES: list };
}

type CommonOptions = { engine: EngineOptions; logFd: number; environment: Readonly<Record<string, string>>; onSpawn: (identity: ProcessIdentity) => void };

/** Chosen anew for each start, so that a llama-server that was just built or removed counts at once. */
async function startAny(given: { deps: LlamaCppRuntimeDeps; request: RuntimeStart; common: CommonOptions }, signal: AbortSignal): Promise<LocalEngine> {
  const { deps, request, common } = given;
  const found = await deps.llamaServer?.finder.find();
  if (deps.llamaServer && found?.binary) {
    request.log('supervisor', 'info', `The engine is llama-server ${found.binary.version ?? ''} (${found.binary.path}).`);
    return await startLlamaServer({ ...common, program: found.binary.path, extraArgs: request.config.extraArgs ?? [], deploymentId: request.deploymentId, runDir: deps.llamaServer.runDir, http: deps.http }, signal);
  }
  if (found && deps.llamaServer?.finder.isForced) throw new AppError('RUNTIME_UNAVAILABLE', `The llama-server that is set cannot be used: ${found.fault ?? ''}`);
  if (request.config.extraArgs?.length) throw new AppError('RUNTIME_UNAVAILABLE', 'config.extra_args are options of llama-server, and there is none here: the embedded engine takes none.');
  return await startEngine({ ...common, ...(request.onLoading ? { onProgress: request.onLoading } : {}) }, signal);
}

async function adopt(deps: LlamaCppRuntimeDeps, { deploymentId, handle, keepsake }: RuntimeAdoption, signal: AbortSignal): Promise<RunningModel | null> {
  const { pid, startTime } = handle;
  const kept = keepsakeSchema.safeParse(keepsake);
  if (pid === null || startTime === null || !kept.success) return null;
  const { program, model, ...address } = kept.data;
  const engine = { pid, startTime, ...address };
  const adopted = program === 'embedded'
    ? await adoptEngine(engine, { http: deps.http, orphanGraceMs: deps.orphanGraceMs ?? orphanGraceMsDefault }, signal)
    : deps.llamaServer && (await adoptLlamaServer({ engine, deploymentId, runDir: deps.llamaServer.runDir, http: deps.http }, signal));
  return adopted ? toRunningModel(adopted, model, deps) : null;
}

function engineOptions({ config, name }: RuntimeStart, modelPath: string, orphanGraceMs: number): EngineOptions {
  const parallel = config.parallel ?? defaultParallel;
  return {
    modelPath,
    modelName: name,
    port: config.port ?? 0,
    contextSize: config.contextSize ?? null,
    parallel,
    threads: config.threads ?? null,
    gpuLayers: config.gpuLayers ?? null,
    queueMax: parallel * queuePerAnswer,
    drainMs,
    orphanGraceMs,
  };
}

function toHandle(identity: ProcessIdentity): RuntimeHandle {
  return { runtime: llamaCppRuntimeId, pid: identity.pid, startTime: identity.startTime, containerId: null };
}

function toRunningModel(engine: LocalEngine, model: string, deps: LlamaCppRuntimeDeps): RunningModel {
  const baseUrl = `http://127.0.0.1:${engine.port}`;
  const meter = new ProcessMeter(engine.pid);
  return {
    baseUrl,
    model,
    headers: { authorization: `Bearer ${engine.secret}` },
    contextSize: engine.contextSize,
    handle: toHandle(engine),
    keepsake: { program: engine.program, port: engine.port, secret: engine.secret, contextSize: engine.contextSize, model },
    exited: engine.onExit.then(toExit),
    check: async (signal) => {
      const answer = await deps.http({ method: 'GET', url: `${baseUrl}/health`, maxBytes: healthBytesMax, allowPrivate: true }, signal);
      if (answer.status !== 200) throw new Error(`/health answered ${answer.status}`);
    },
    use: async () => {
      const [own, gpuMemoryBytes] = await Promise.all([meter.read(), deps.gpuMemoryOf?.(engine.pid) ?? null]);
      return { ...own, gpuMemoryBytes };
    },
    stop: async (stopDrainMs, signal) => {
      // One that hangs would not hear that it is to end.
      if (stopDrainMs === 0) engine.kill();
      await engine.stop(stopDrainMs, signal);
    },
    release: () => engine.release(keptGraceMs),
  };
}

function toExit({ code, signal }: EngineExit): RuntimeExit {
  const known = Object.entries(engineExitCodes).find(([, exitCode]) => exitCode === code)?.[0];
  if (signal === 'SIGKILL') return { code, signal, reason: 'The engine was killed; where memory is short, the system does that.' };
  return { code, signal, reason: known === undefined ? null : `The engine ended with ${known}.` };
}
