import * as z from 'zod';
import type { OutgoingHttp } from '../../../../shared/outgoing-http.ts';
import { HealthUnknownError, type ReachedEngine, type RunningModel, type RuntimeAdoption, type RuntimeHandle } from '../../runtime.ts';
import { untilIdle } from '../llama-cpp/llama-server/server-process.ts';
import type { DeploymentConfig } from '../../types.ts';
import type { DockerEngine } from './docker-engine.ts';
import { templateById, type ImageTemplate } from './image-templates.ts';
import { loadOptionsOf } from '../ollama/ollama-server.ts';
import { chatInContainer, modelInContainer, type OllamaWays } from './ollama-in-container.ts';
import { createTgiChat } from './tgi-requests.ts';
import { WatchedContainer } from './container.ts';

export type ContainerServer = { http: OutgoingHttp; baseUrl: string; template: ImageTemplate };
export type Running = ContainerServer & {
  engine: DockerEngine;
  watched: WatchedContainer;
  handle: RuntimeHandle;
  secret: string;
  contextSize: number;
  model: string;
  config: DeploymentConfig;
  ollama: OllamaWays;
};

const healthBytesMax = 4_096;
const keepsakeSchema = z.object({ kind: z.string(), baseUrl: z.string(), secret: z.string(), contextSize: z.int(), model: z.string() });

/** Rejects with a sentence unless the server says that it serves. */
export async function health({ http, baseUrl, template: { healthPath } }: ContainerServer, signal: AbortSignal): Promise<void> {
  const answer = await http({ method: 'GET', url: `${baseUrl}${healthPath}`, maxBytes: healthBytesMax, allowPrivate: true, overflow: 'truncate' }, signal);
  if (answer.status !== 200) throw new Error(`${healthPath} answered ${answer.status}`);
}

/** The container that an earlier service process started, by its id and labels; null when it is not there or has ended. */
export async function adoptContainer({ engine, http, ollama }: { engine: DockerEngine; http: OutgoingHttp; ollama: OllamaWays }, request: RuntimeAdoption, signal: AbortSignal): Promise<RunningModel | null> {
  const { handle, deploymentId, config, log, loggedUntil } = request;
  const kept = keepsakeSchema.safeParse(request.keepsake);
  if (handle.containerId === null || !kept.success) return null;
  const template = templateById(kept.data.kind);
  if (!template) return null;
  const about = await engine.inspect(handle.containerId);
  if (about === null || !engine.isRunningFor(deploymentId, about)) return null;
  const server: ContainerServer = { http, template, baseUrl: kept.data.baseUrl };
  await health(server, signal);
  const since = loggedUntil ?? new Date(about.State.StartedAt);
  const watched = new WatchedContainer(engine, handle.containerId, log, since.getTime() / 1000);
  return toRunningModel({ ...kept.data, ...server, engine, watched, handle, config, ollama });
}

export function toRunningModel({ http, baseUrl, template, engine, watched, handle, secret, contextSize, model, config, ollama }: Running): RunningModel {
  const server = { http, baseUrl, template };
  return {
    baseUrl,
    model: template.protocol === 'ollama' ? modelInContainer : model,
    ...waysOf(template, { baseUrl, ollama, config, contextSize }),
    headers: { authorization: `Bearer ${secret}` },
    contextSize,
    handle,
    keepsake: { kind: template.id, baseUrl, secret, contextSize, model },
    exited: watched.exited,
    check: (signal) => check(server, engine, signal),
    use: () => watched.use(),
    stop: async (drainMs, signal) => {
      // Model servers cut running answers when they are told to end, so they are waited for here.
      if (drainMs > 0) await untilIdle({ ...server, secret }, AbortSignal.any([signal, AbortSignal.timeout(drainMs)]));
      await watched.end(drainMs === 0, signal);
    },
    release: () => {
      watched.letGo();
      return Promise.resolve();
    },
  };
}

/** The way to a container that another process of this service has started. */
export function reachContainer({ baseUrl, contextSize, config, keepsake }: ReachedEngine, ollama: OllamaWays): RunningModel['http'] {
  const kept = keepsakeSchema.safeParse(keepsake);
  const template = kept.success ? templateById(kept.data.kind) : undefined;
  return template && contextSize !== null ? waysOf(template, { baseUrl, ollama, config, contextSize }).http : undefined;
}

function waysOf({ protocol }: ImageTemplate, { baseUrl, ollama, config, contextSize }: Pick<Running, 'baseUrl' | 'ollama' | 'config' | 'contextSize'>): Pick<RunningModel, 'http'> {
  if (protocol === 'ollama') return { http: chatInContainer(baseUrl, ollama, loadOptionsOf(config, contextSize)) };
  return protocol === 'tgi' ? { http: createTgiChat(ollama.streaming) } : {};
}

async function check(server: ContainerServer, engine: DockerEngine, signal: AbortSignal): Promise<void> {
  const fault = await health(server, signal).then(() => null, (error: unknown) => (error instanceof Error ? error : new Error(String(error))));
  if (fault === null) return;
  signal.throwIfAborted();
  await engine.machine(signal).catch((cause: unknown) => {
    signal.throwIfAborted();
    throw new HealthUnknownError('The Docker Engine does not answer, so nothing is known of the container.', { cause });
  });
  throw fault;
}
