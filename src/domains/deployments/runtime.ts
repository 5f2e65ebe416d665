import type { LogLevel } from '../../shared/event-bus.ts';
import type { StreamingHttp } from '../../shared/streaming-http.ts';
import type { DeploymentConfig, DeploymentUseView, HealthPolicy, RestartPolicy, RuntimeInfo } from './types.ts';

/**
 * Plug-in port: something that can run a model and serve it over HTTP in OpenAI's shape. Built-in: `llama-cpp`
 * (a child process) and `remote` (a server that somebody else runs).
 *
 * The supervisor is the only caller: it never calls `start` twice for one deployment without a `stop` or an exit in
 * between. `test/contract/model-runtime.contract.ts` is the suite that every runtime passes.
 */
export type ModelRuntime = {
  readonly id: string;
  readonly name: string;
  readonly capabilities: RuntimeCapabilities;
  /** Where this runtime's nature asks for other policies than usual; what an operator sets wins. */
  readonly defaults?: { readonly health?: Partial<HealthPolicy>; readonly restart?: Partial<RestartPolicy> };
  /** Whether it can be used on this machine now, and what is missing. Answers within 2 s; one that takes 15 s is taken to be unusable. */
  probe(signal: AbortSignal): Promise<RuntimeInfo>;
  /**
   * Faults of a config that this runtime cannot honour, as field and message; empty = fine. Pure. Fields are named
   * as in the REST contract (`config.context_size`).
   */
  validate(config: DeploymentConfig): readonly { field: string; message: string }[];
  /** Formats that it loads with this config, where that is fewer than its capabilities say. Pure. */
  readonly formatsFor?: (config: DeploymentConfig) => readonly string[];
  /**
   * Starts and resolves once the server answers its health check. Rejects with START_FAILED (message for people,
   * why), MODEL_DOES_NOT_FIT, PORT_IN_USE, or the signal's reason; after a rejection nothing is left running.
   */
  start(request: RuntimeStart, signal: AbortSignal): Promise<RunningModel>;
  /** Models that its server has by itself, for `RuntimeStart.ownModel`. Left out where it has only what it is given. */
  readonly ownModels?: OwnModels;
  /**
   * Finds what an earlier service process left running under this handle and ends it. Resolves when it is gone;
   * a handle whose process or container is not there any more is fine.
   */
  endOrphan(handle: RuntimeHandle, signal: AbortSignal): Promise<void>;
  /**
   * Takes over what `start` of an earlier service process left running, found by its handle and its keepsake: the
   * same process or container, nothing loaded again. Null = it is not there, or no longer of use; the supervisor
   * then calls `endOrphan` and starts anew. Answers within 10 s; never starts anything and never ends what it does
   * not take. Left out by runtimes of which nothing outlives the service.
   */
  readonly adopt?: (request: RuntimeAdoption, signal: AbortSignal) => Promise<RunningModel | null>;
  /**
   * Ends what earlier processes of this service left running and no handle names any more; `known` are the ids of
   * those that one does. Rejects where that cannot be told now; it is asked again later. Never ends what this process
   * has started. Answers how many it ended.
   */
  readonly endStrays?: (known: ReadonlySet<string>, signal: AbortSignal) => Promise<number>;
  /**
   * For runtimes whose models run in a daemon: why that cannot be reached now, null when it can. Asked before a model
   * is started again, which waits for as long as this says something: a daemon that restarts is no fault of the model.
   */
  readonly awayReason?: (signal: AbortSignal) => Promise<string | null>;
  /**
   * For engines that another process of this service has started or adopted, and this one speaks to as well: what that
   * process has as `RunningModel.http`. Asked for every use; undefined = plain HTTP.
   */
  readonly reach?: (engine: ReachedEngine) => StreamingHttp | undefined;
};

export type OwnModels = {
  /** Of the model ids under which they are asked for, e.g. `ollama`. */
  readonly source: string;
  /** By its name with or without a tag; null where the server does not have it. Rejects where it does not answer. */
  find(name: string, signal: AbortSignal): Promise<OwnModel | null>;
  /** Those that people have put there, not what `start` has made. */
  list(signal: AbortSignal): Promise<readonly OwnModel[]>;
};

export type OwnModel = { /** With its tag. */ name: string; sizeBytes: number; quantization: string | null };

export type RuntimeCapabilities = {
  needsModel: boolean;
  /** Formats that it loads, e.g. `gguf`. */
  formats: readonly string[];
  /** Only an ADMIN may start it. */
  adminOnly: boolean;
  /** Runs models on another machine, of whose devices nothing is known here. */
  isElsewhere?: boolean;
};

/** What finds a running model again after a crash of the service; JSON-safe, stored in the row. `containerId`: of a container, or the model's name at its server. */
export type RuntimeHandle = { runtime: string; pid: number | null; startTime: string | null; containerId: string | null };

/**
 * What finds a running model's server again, its secret included: JSON-safe, written by the runtime alone and read by
 * its `adopt` alone. Stored apart from the row, so that no list, log or answer shows it.
 */
export type Keepsake = Readonly<Record<string, string | number | boolean | null>>;

export type RuntimeAdoption = Pick<RuntimeStart, 'deploymentId' | 'name' | 'config' | 'log' | 'logFile'> & {
  handle: RuntimeHandle;
  keepsake: Keepsake;
  /** When the last line was written to its log, for those whose output is not a file; null when that is not known. */
  loggedUntil: Date | null;
};

export type RuntimeStart = {
  deploymentId: string;
  name: string;
  /** Absolute path of the model's first file; null when the runtime needs none. */
  modelPath: string | null;
  /** Name of a model of `ownModels`, in place of a file. */
  ownModel?: string;
  config: DeploymentConfig;
  /** `remote` only. */
  apiKey: string | null;
  /** For the engine's own output: raw lines, as they come. Never throws, never waits. */
  log: (stream: 'stdout' | 'stderr' | 'supervisor', level: LogLevel, message: string) => void;
  /** File that engines which outlive a pipe may write to; the supervisor reads it. */
  logFile: string;
  /** Called as soon as something exists that would have to be ended after a crash; stored before `start` goes on. */
  onHandle: (handle: RuntimeHandle) => Promise<void>;
  /** 0..1 while weights load. */
  onLoading?: (fraction: number) => void;
};

/** What is stored of an engine that runs. */
export type ReachedEngine = Pick<RunningModel, 'baseUrl' | 'model' | 'contextSize'> & { config: DeploymentConfig; keepsake: Keepsake | null };

export type RunningModel = {
  /** Base address; `/v1/...` is appended. */
  baseUrl: string;
  /** Name to send as `model` upstream. */
  model: string;
  headers: Readonly<Record<string, string>>;
  /**
   * Sends requests to `baseUrl` in place of plain HTTP, for a server whose own OpenAI routes fall short: it is given
   * the same requests and answers in the same shape, so that chat and gateway know one interface.
   */
  http?: StreamingHttp;
  contextSize: number | null;
  handle: RuntimeHandle;
  /** For `adopt`, stored as soon as the model runs; left out or null where it cannot be taken over. */
  keepsake?: Keepsake | null;
  /** Resolves when it ends, for whatever reason; never rejects. A remote server never exits. */
  readonly exited: Promise<RuntimeExit>;
  /** One health check; rejects with a sentence, with HealthUnknownError, or with the signal's reason. */
  check(signal: AbortSignal): Promise<void>;
  /** Null figures where they cannot be had. */
  use(): Promise<DeploymentUseView>;
  /**
   * Lets running answers end for `drainMs`, then ends it with force; resolves when nothing is left, never rejects.
   * The signal's abort ends the draining at once. A second call while the first still drains may shorten it.
   */
  stop(drainMs: number, signal: AbortSignal): Promise<void>;
  /**
   * Lets go of it without ending it, because the service ends and the next one adopts it. Resolves when nothing of
   * it holds this process any more; `exited` need not resolve then. Rejects where it cannot be left, and then it is
   * stopped. Comes with a keepsake.
   */
  release?(): Promise<void>;
};

/** A check could not be made, e.g. because the daemon of a container is away: no sign that the model itself failed. */
export class HealthUnknownError extends Error {
  override readonly name = 'HealthUnknownError';
}

export type RuntimeExit = { code: number | null; signal: string | null; reason: string | null };
