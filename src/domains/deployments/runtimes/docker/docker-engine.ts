import Docker from 'dockerode';
import type { ContainerCreateOptions, ContainerInspectInfo } from 'dockerode';
import * as z from 'zod';
import { abortable } from '../../../../shared/async.ts';
import { AppError } from '../../../../shared/errors.ts';
import { guardDockerHttp } from './docker-http.ts';

export type DockerAddress = { kind: 'socket'; path: string } | { kind: 'tcp'; host: string; port: number };
export type DockerMachine = { version: string; memoryBytes: number; cores: number; hasGpus: boolean };

const serviceLabel = 'llm-manager.service';
const deploymentLabel = 'llm-manager.deployment';
const progressShare = 0.1;
/** A daemon under load may need seconds to list what it has. */
const quickMsMax = 20_000;
/** Layers of one image whose progress is told; images have some dozens. */
const layersMax = 500;
const infoSchema = z.object({
  ServerVersion: z.string().max(100).regex(/^[\x20-\x7e]*$/), MemTotal: z.number().int().nonnegative(), NCPU: z.number().int().positive(), Runtimes: z.record(z.string(), z.unknown()).nullish(),
});

/** What Docker says of an error; its `reason` text is wrong for images, so that is never shown. */
export function dockerFault(error: unknown): { status: number | null; message: string } {
  const fault = error as { statusCode?: unknown; json?: { message?: unknown }; message?: unknown; code?: unknown };
  const message = typeof fault.json?.message === 'string' ? fault.json.message : typeof fault.message === 'string' ? fault.message : 'no reason is known';
  return { status: typeof fault.statusCode === 'number' ? fault.statusCode : null, message: message.slice(0, 500) };
}

/** The daemon did not answer at all: nothing is known of what it runs. */
export const isAway = (error: unknown): boolean => dockerFault(error).status === null;

/** One Docker Engine, as far as the runtime uses it. */
export class DockerEngine {
  readonly where: string;
  readonly isElsewhere: boolean;
  readonly #client: Docker;
  readonly #quick: Docker;
  readonly #serviceId: string;
  /** Containers that this process has made. */
  readonly #made = new Set<string>();

  constructor(address: DockerAddress, serviceId: string) {
    this.isElsewhere = address.kind === 'tcp' && !/^(localhost|127\.|::1$)/.test(address.host);
    this.where = address.kind === 'socket' ? address.path : `${address.host}:${address.port}`;
    guardDockerHttp();
    const where = address.kind === 'socket' ? { socketPath: address.path } : { protocol: 'http' as const, host: address.host, port: address.port };
    this.#client = new Docker(where);
    this.#quick = new Docker({ ...where, timeout: quickMsMax });
    this.#serviceId = serviceId;
  }

  /** For what may take its time: streams, starts, stops, pulls. */
  get client(): Docker {
    return this.#client;
  }

  /** For questions that are answered at once; a daemon that hangs counts as away. */
  get quick(): Docker {
    return this.#quick;
  }

  /** Throws RUNTIME_UNAVAILABLE when it does not answer. */
  async machine(signal: AbortSignal): Promise<DockerMachine> {
    try {
      const info = infoSchema.parse(await abortable(this.#quick.info(), signal));
      return { version: info.ServerVersion, memoryBytes: info.MemTotal, cores: info.NCPU, hasGpus: Object.hasOwn(info.Runtimes ?? {}, 'nvidia') };
    } catch (cause) {
      signal.throwIfAborted();
      throw new AppError('RUNTIME_UNAVAILABLE', `The Docker Engine at ${this.where} does not answer, or may not be used by this account.`, { cause });
    }
  }

  labels(deploymentId: string): Record<string, string> {
    return { [serviceLabel]: this.#serviceId, [deploymentLabel]: deploymentId };
  }

  /** Fetches the image unless it is there; steps are told as they come. */
  async ensureImage(image: string, tell: (message: string) => void, signal: AbortSignal): Promise<void> {
    const isThere = await abortable(this.#quick.getImage(image).inspect(), signal).then(() => true, (error: unknown) => {
      signal.throwIfAborted();
      if (dockerFault(error).status === 404) return false;
      throw error;
    });
    if (isThere) return;
    tell(`Pulling ${image}.`);
    try {
      const stream = await abortable(this.#client.pull(image, { abortSignal: signal }), signal);
      const { promise, resolve, reject } = Promise.withResolvers<undefined>();
      this.#client.modem.followProgress(stream, (error) => (error ? reject(error) : resolve(undefined)), pullProgress(tell));
      await abortable(promise, signal);
    } catch (cause) {
      signal.throwIfAborted();
      throw new AppError('START_FAILED', `The image ${image} cannot be pulled: ${dockerFault(cause).message}`, { cause });
    }
  }

  /** Rejects with the signal's reason when it aborts first; a container that is made all the same is removed. */
  async create(options: ContainerCreateOptions, signal: AbortSignal): Promise<string> {
    const making = this.#client.createContainer(options);
    try {
      const { id } = await abortable(making, signal);
      this.#made.add(id);
      return id;
    } catch (error) {
      making.then(({ id }) => this.remove(id)).catch(() => undefined);
      throw error;
    }
  }

  /** Null when there is no such container. */
  async inspect(id: string): Promise<ContainerInspectInfo | null> {
    return await this.#quick.getContainer(id).inspect().catch((error: unknown) => {
      if (dockerFault(error).status === 404) return null;
      throw error;
    });
  }

  /**
   * Kills and removes; one that is not there is fine. So is one that has ended and whose files are held by a mount
   * that a killed daemon has left: it holds no memory and no port, and a later sweep takes it away.
   */
  async remove(id: string): Promise<void> {
    await this.#client.getContainer(id).remove({ force: true, v: true }).catch(async (error: unknown) => {
      const { status } = dockerFault(error);
      // 409: it is being removed already.
      if (status === 404 || status === 409) return;
      const about = await this.inspect(id);
      if (about?.State.Running === true) throw error;
    });
    this.#made.delete(id);
  }

  /** Removes every container of this service that bears the deployment's label. */
  async sweep(deploymentId: string, signal: AbortSignal): Promise<number> {
    const label = Object.entries(this.labels(deploymentId)).map(([name, value]) => `${name}=${value}`);
    const found = await abortable(this.#quick.listContainers({ all: true, filters: { label } }), signal);
    for (const { Id } of found) await abortable(this.remove(Id), signal);
    return found.length;
  }

  /** Removes the containers of earlier processes of this service that are not `known`. */
  async sweepStrays(known: ReadonlySet<string>, signal: AbortSignal): Promise<number> {
    const found = await abortable(this.#quick.listContainers({ all: true, filters: { label: [`${serviceLabel}=${this.#serviceId}`] } }), signal);
    const strays = found.filter(({ Id }) => !known.has(Id) && !this.#made.has(Id));
    for (const { Id } of strays) {
      signal.throwIfAborted();
      await this.remove(Id);
    }
    return strays.length;
  }

  /** Whether it is one of this service and deployment; also tells that it is there and runs. */
  isRunningFor(deploymentId: string, about: ContainerInspectInfo): boolean {
    return about.State.Running && Object.entries(this.labels(deploymentId)).every(([name, value]) => about.Config.Labels[name] === value);
  }
}

type PullStep = { status?: string; id?: string; progressDetail?: { current?: number; total?: number } };

/** Docker tells each layer several times a second. */
function pullProgress(tell: (message: string) => void): (step: PullStep) => void {
  const told = new Map<string, { status: string; share: number }>();
  return ({ status = '', id = '', progressDetail }) => {
    const { current = 0, total = 0 } = progressDetail ?? {};
    const share = total > 0 ? current / total : 0;
    const before = told.get(id);
    if (before === undefined && told.size >= layersMax) return;
    if (before?.status === status && share - before.share < progressShare) return;
    told.set(id, { status, share });
    tell(`${id === '' ? '' : `${id}: `}${status}${total > 0 ? ` ${Math.round(share * 100)} %` : ''}`);
  };
}

