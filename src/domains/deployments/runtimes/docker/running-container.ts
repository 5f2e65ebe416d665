import * as z from 'zod';
import type { OutgoingHttp } from '../../../../shared/outgoing-http.ts';
import { HealthUnknownError, type RunningModel, type RuntimeAdoption, type RuntimeHandle } from '../../runtime.ts';
import { untilIdle } from '../llama-cpp/llama-server/server-process.ts';
import type { DockerEngine } from './docker-engine.ts';
import { WatchedContainer } from './container.ts';

export type ContainerServer = { http: OutgoingHttp; baseUrl: string };
export type Running = ContainerServer & { engine: DockerEngine; watched: WatchedContainer; handle: RuntimeHandle; secret: string; contextSize: number; model: string };

const healthBytesMax = 4_096;
const keepsakeSchema = z.object({ baseUrl: z.string(), secret: z.string(), contextSize: z.int(), model: z.string() });

/** Rejects with a sentence unless the server says that it serves. */
export async function health({ http, baseUrl }: ContainerServer, signal: AbortSignal): Promise<void> {
  const answer = await http({ method: 'GET', url: `${baseUrl}/health`, maxBytes: healthBytesMax, allowPrivate: true, overflow: 'truncate' }, signal);
  if (answer.status !== 200) throw new Error(`/health answered ${answer.status}`);
}

/** The container that an earlier service process started, by its id and labels; null when it is not there or has ended. */
export async function adoptContainer({ engine, http }: { engine: DockerEngine; http: OutgoingHttp }, request: RuntimeAdoption, signal: AbortSignal): Promise<RunningModel | null> {
  const { handle, deploymentId, log, loggedUntil } = request;
  const kept = keepsakeSchema.safeParse(request.keepsake);
  if (handle.containerId === null || !kept.success) return null;
  const about = await engine.inspect(handle.containerId);
  if (about === null || !engine.isRunningFor(deploymentId, about)) return null;
  const server: ContainerServer = { http, baseUrl: kept.data.baseUrl };
  await health(server, signal);
  const since = loggedUntil ?? new Date(about.State.StartedAt);
  const watched = new WatchedContainer(engine, handle.containerId, log, since.getTime() / 1000);
  return toRunningModel({ ...kept.data, ...server, engine, watched, handle });
}

export function toRunningModel({ http, baseUrl, engine, watched, handle, secret, contextSize, model }: Running): RunningModel {
  const server = { http, baseUrl };
  return {
    baseUrl,
    model,
    headers: { authorization: `Bearer ${secret}` },
    contextSize,
    handle,
    keepsake: { baseUrl, secret, contextSize, model },
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
