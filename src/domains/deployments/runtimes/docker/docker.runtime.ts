import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { abortable } from '../../../../shared/async.ts';
import { AppError, isAppError, type FieldFault } from '../../../../shared/errors.ts';
import { defaultContextSize } from '../../../../shared/gguf/fit-policy.ts';
import { GgufError } from '../../../../shared/gguf/errors.ts';
import type { OutgoingHttp } from '../../../../shared/outgoing-http.ts';
import type { ModelRuntime, RunningModel, RuntimeHandle, RuntimeStart } from '../../runtime.ts';
import type { DeploymentConfig, EngineInfo, RuntimeInfo } from '../../types.ts';
import { readConfig } from '../../model-figures.ts';
import { readModelFile } from '../llama-cpp/model-file.ts';
import { untilReady } from '../until-ready.ts';
import { argumentFaults } from '../extra-arguments.ts';
import { containerOptions } from './container-options.ts';
import { mountModel } from './mounted-model.ts';
import { removeContainer, WatchedContainer } from './container.ts';
import { reachContainer, adoptContainer, health, toRunningModel, type ContainerServer } from './running-container.ts';
import { dockerFault, isAway, type DockerEngine, type DockerMachine } from './docker-engine.ts';
import { handOver, type OllamaWays } from './ollama-in-container.ts';
import { allowedImages, imageKinds, type AllowedImages, type ImageTemplate } from './image-templates.ts';

export type DockerRuntimeDeps = {
  engine: DockerEngine;
  http: OutgoingHttp;
  /** Images that the operator allows, as `allowedImages` reads them; null = those of the templates. */
  images: readonly string[] | null;
  /** For images of Ollama. */
  ollama: OllamaWays;
};

/** It takes one file a model. */
const splitGguf = /-\d{5}-of-\d{5}\.gguf$/i;

export const dockerRuntimeId = 'docker';

const unusable: readonly { key: keyof DeploymentConfig; field: string }[] = [
  { key: 'baseUrl', field: 'config.base_url' },
  { key: 'model', field: 'config.model' },
];

/** Options of GPU back ends and of thread placement; others of these families load code. */
const environmentNames = new Set(['GGML_CUDA_ENABLE_UNIFIED_MEMORY', 'GGML_CUDA_FORCE_MMQ', 'GGML_CUDA_NO_PINNED', 'OMP_NUM_THREADS', 'OMP_PROC_BIND', 'OMP_PLACES', 'OLLAMA_FLASH_ATTENTION', 'OLLAMA_KV_CACHE_TYPE', 'VLLM_ATTENTION_BACKEND', 'VLLM_LOGGING_LEVEL']);

/** Runs a model in a container of a Docker Engine, from an image that the operator allows. */
export function createDockerRuntime(deps: DockerRuntimeDeps): ModelRuntime {
  const common = { id: dockerRuntimeId, name: 'Docker', needsModel: true, formats: ['gguf', 'safetensors'] };
  const images = allowedImages(deps.images);
  return {
    id: dockerRuntimeId,
    name: common.name,
    capabilities: { needsModel: true, formats: common.formats, adminOnly: false, isElsewhere: deps.engine.isElsewhere },
    probe: async (signal): Promise<RuntimeInfo> => ({ ...common, ...(await probe(deps.engine, signal)) }),
    validate: (config) => validate(config, images),
    formatsFor: (config) => formatsFor(config, images),
    start: (request, signal) => start({ ...deps, ...chosenImage(request.config, images, formatOf(request.modelPath)) }, request, signal),
    adopt: (request, signal) => adoptContainer(deps, request, signal),
    endStrays: (known, signal) => deps.engine.sweepStrays(known, signal),
    awayReason: (signal) => deps.engine.machine(signal).then(() => null, (error: unknown) => {
      signal.throwIfAborted();
      return isAppError(error) ? error.message : `The Docker Engine at ${deps.engine.where} does not answer.`;
    }),
    reach: (container) => reachContainer(container, deps.ollama),
    endOrphan: async ({ containerId }) => {
      if (containerId !== null) await deps.engine.remove(containerId);
    },
  };
}

/** Whoever lists what can be used does not wait longer for a daemon that hangs. */
const probeMsMax = 2_000;

async function probe(engine: DockerEngine, signal: AbortSignal): Promise<Pick<RuntimeInfo, 'available' | 'version' | 'detail' | 'engines'>> {
  const about = { id: 'docker', name: 'Docker Engine' };
  const gpu = { id: 'docker-gpu', name: 'Docker Engine with NVIDIA graphics cards', inUse: false };
  try {
    const { version, hasGpus } = await engine.machine(AbortSignal.any([signal, AbortSignal.timeout(probeMsMax)]));
    const gpuRemedy = 'Where there is an NVIDIA graphics card: install the NVIDIA Container Toolkit and configure it for Docker.';
    const engines: EngineInfo[] = [
      { ...about, available: true, inUse: true, version, detail: engine.where, remedy: null },
      hasGpus ? { ...gpu, available: true, version, detail: null, remedy: null } : { ...gpu, available: false, version: null, detail: 'The Docker Engine has no NVIDIA runtime.', remedy: gpuRemedy },
    ];
    return { available: true, version, detail: `Runs on the Docker Engine at ${engine.where}.`, engines };
  } catch (error) {
    signal.throwIfAborted();
    const detail = isAppError(error) ? error.message : `The Docker Engine at ${engine.where} does not answer.`;
    const remedy = 'Install Docker Engine (https://docs.docker.com/engine/install) and let this account use it, or set DOCKER_HOST.';
    return { available: false, version: null, detail, engines: [{ ...about, available: false, inUse: false, version: null, detail, remedy }] };
  }
}

/** Where none is named, the first one that loads the format. */
function chosenImage({ image }: DeploymentConfig, images: AllowedImages, format: string | null = null): { image: string; template: ImageTemplate | null } {
  const suitable = [...images].find(([, template]) => format === null || template?.formats.includes(format));
  const name = image ?? suitable?.[0] ?? '';
  return { image: name, template: images.get(name) ?? null };
}

const formatOf = (modelPath: string | null): string | null => (modelPath === null ? null : path.extname(modelPath).slice(1).toLowerCase());

function formatsFor({ image }: DeploymentConfig, images: AllowedImages): readonly string[] {
  const templates = image === undefined ? [...images.values()] : [images.get(image) ?? null];
  return [...new Set(templates.flatMap((template) => template?.formats ?? []))];
}

const refusable = [{ key: 'gpuLayers', field: 'config.gpu_layers' }, { key: 'threads', field: 'config.threads' }] as const;

function validate(config: DeploymentConfig, images: AllowedImages): readonly FieldFault[] {
  const faults = unusable.flatMap(({ key, field }) => (config[key] === undefined ? [] : [{ field, message: 'is for the runtime remote only' }]));
  const { image, template } = chosenImage(config, images);
  if (!images.has(image)) faults.push({ field: 'config.image', message: `must be one of ${[...images.keys()].join(', ')}` });
  else if (template === null) faults.push({ field: 'config.image', message: `is of a kind that is not known: LLM_MANAGER_DOCKER_IMAGES may say it as KIND=${image}, with ${imageKinds.join(' or ')}` });
  for (const name of Object.keys(config.environment ?? {})) {
    if (!environmentNames.has(name)) faults.push({ field: `config.environment.${name}`, message: `is not one that this runtime takes: ${[...environmentNames].join(', ')}` });
  }
  // Of an image that is not known no argument is.
  return [...faults, ...(template === null ? argumentFaults(config.extraArgs ?? [], new Set()) : templateFaults(config, template))];
}

/** What the one kind of server cannot honour. */
function templateFaults(config: DeploymentConfig, template: ImageTemplate): FieldFault[] {
  const refused = refusable.filter(({ key }) => config[key] !== undefined && template.refused.includes(key));
  return [...refused.map(({ field }) => ({ field, message: `is not for ${template.name}` })), ...argumentFaults(config.extraArgs ?? [], template.extraArguments)];
}

type Parts = DockerRuntimeDeps & ReturnType<typeof chosenImage>;

async function start(parts: Parts, request: RuntimeStart, signal: AbortSignal): Promise<RunningModel> {
  signal.throwIfAborted();
  const { engine, image, template } = parts;
  const { modelPath } = request;
  if (modelPath === null || template === null) throw new AppError('START_FAILED', 'There is no model file or no image to start.');
  assertSuits(request.config, template, modelPath);
  const contextSize = await contextSizeOf(request, modelPath);
  const machine = await engine.machine(signal);
  if (request.config.gpuDevices && !machine.hasGpus) throw new AppError('RUNTIME_UNAVAILABLE', 'The Docker Engine cannot give graphics cards to containers: it has no NVIDIA runtime.');
  await engine.ensureImage(image, (step) => request.log('stdout', 'info', step), signal);
  const secret = randomBytes(32).toString('base64url');
  const id = await create({ ...parts, template, machine, contextSize, secret, modelPath }, request, signal);
  let watched: WatchedContainer | null = null;
  try {
    const handle: RuntimeHandle = { runtime: dockerRuntimeId, pid: null, startTime: null, containerId: id };
    await request.onHandle(handle);
    signal.throwIfAborted();
    await abortable(engine.client.getContainer(id).start(), signal);
    const port = await publishedPort(engine, id, template);
    watched = new WatchedContainer(engine, id, request.log, 0);
    const server: ContainerServer = { http: parts.http, template, baseUrl: `http://127.0.0.1:${port}` };
    await untilServing(server, watched, signal);
    if (template.protocol === 'ollama') await handOver(server.baseUrl, parts.ollama, { ...request, modelPath, contextSize }, signal);
    return toRunningModel({ ...server, engine, watched, handle, secret, contextSize, model: request.name, config: request.config, ollama: parts.ollama });
  } catch (error) {
    watched?.letGo();
    await removeContainer(engine, id, request.log);
    signal.throwIfAborted();
    throw toStartFault(error, request.config.port);
  }
}

/** Where no image was named, its kind is known only now. Throws UNSUPPORTED_MODEL, START_FAILED. */
function assertSuits(config: DeploymentConfig, template: ImageTemplate, modelPath: string): void {
  if (!template.formats.includes(formatOf(modelPath) ?? '')) throw new AppError('UNSUPPORTED_MODEL', `${template.name} cannot run models in this format.`);
  if (splitGguf.test(modelPath) && template.protocol === 'ollama') throw new AppError('UNSUPPORTED_MODEL', 'Ollama cannot load a model that is split into several files.');
  const [fault] = templateFaults(config, template);
  if (fault) throw new AppError('START_FAILED', `${fault.field} ${fault.message}; name an image that takes it.`);
}

async function contextSizeOf({ config }: RuntimeStart, modelPath: string): Promise<number> {
  if (formatOf(modelPath) === 'safetensors') {
    const { contextLength } = await readConfig(path.join(path.dirname(modelPath), 'config.json'));
    return config.contextSize ?? defaultContextSize(contextLength);
  }
  // Before any native code sees the file: llama.cpp trusts the sizes that a header gives.
  const { header } = await readModelFile(modelPath).catch((cause: unknown) => {
    throw new AppError('UNSUPPORTED_MODEL', `The model's file cannot be used: ${cause instanceof GgufError ? cause.message : 'it cannot be opened'}`, { cause });
  });
  return config.contextSize ?? defaultContextSize(header.contextLength);
}

type Creation = Parts & { template: ImageTemplate; machine: DockerMachine; contextSize: number; secret: string; modelPath: string };

async function create({ engine, image, template, machine, contextSize, secret, modelPath }: Creation, { config, name, deploymentId, log }: RuntimeStart, signal: AbortSignal): Promise<string> {
  const { files, inside } = await mountModel(modelPath);
  try {
    const swept = await engine.sweep(deploymentId, signal);
    if (swept > 0) log('supervisor', 'warn', 'Removed a container that an earlier start had left.');
    const options = containerOptions({
      start: { config, name, modelFile: inside, secret, contextSize },
      template, image, machine, files, labels: engine.labels(deploymentId),
    });
    return await engine.create(options, signal);
  } catch (cause) {
    signal.throwIfAborted();
    throw toStartFault(cause, config.port);
  }
}

async function publishedPort(engine: DockerEngine, id: string, template: ImageTemplate): Promise<number> {
  const about = await engine.inspect(id);
  const port = Number(about?.NetworkSettings.Ports[`${template.port}/tcp`]?.[0]?.HostPort ?? 0);
  if (port > 0) return port;
  throw new AppError('START_FAILED', about?.State.Running === false ? 'The container ended at once; its log says more.' : 'The container has no port on this machine.');
}

async function untilServing(server: ContainerServer, watched: WatchedContainer, signal: AbortSignal): Promise<void> {
  const ended = watched.exited.then(({ code, reason }) => Promise.reject(new AppError('START_FAILED', reason ?? `The container ended before it was ready (exit code ${code ?? 'unknown'}); its log says more.`)));
  await untilReady((asking) => health(server, asking).then(() => true), ended, signal);
}

/** Text of Docker's daemon that people should not have to know. */
function toStartFault(error: unknown, port: number | undefined): AppError {
  if (isAppError(error)) return error;
  const { message } = dockerFault(error);
  if (isAway(error)) return new AppError('RUNTIME_UNAVAILABLE', 'The Docker Engine stopped answering.', { cause: error });
  if (/port is already allocated|address already in use|driver failed programming/i.test(message)) return new AppError('PORT_IN_USE', `Port ${port ?? 'chosen'} is in use.`, { cause: error });
  if (/could not select device driver/i.test(message)) return new AppError('RUNTIME_UNAVAILABLE', 'The Docker Engine cannot give graphics cards to containers.', { cause: error });
  return new AppError('START_FAILED', `The container could not be started: ${message}`, { cause: error });
}
