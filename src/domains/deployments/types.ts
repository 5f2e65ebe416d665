import type { StoredError } from '../../shared/errors.ts';
import type { LogLevel, LogLine } from '../../shared/event-bus.ts';
import type { StreamingHttp } from '../../shared/streaming-http.ts';
import type { Page, PageRequest } from '../../shared/paging.ts';
import type { Principal } from '../../shared/principal.ts';
import type { DeploymentStatus, DesiredStatus } from './deployment.machine.ts';

/** Id of a runtime plug-in: `llama-cpp`, `ollama`, `docker`, `remote`, or an outside one. */
export type RuntimeId = string;

export type RestartPolicy = { policy: 'always' | 'on_failure' | 'never'; maxRetries: number };
export type HealthPolicy = {
  intervalSeconds: number;
  timeoutSeconds: number;
  failures: number;
  /** Where no answer has succeeded for so long, it is asked for one token; null = never. */
  generationIntervalSeconds: number | null;
};

/** What an operator sets; null or missing = the runtime's default. A runtime refuses what it cannot honour. */
export type DeploymentConfig = {
  /** 0 or missing = any free port. */
  port?: number;
  gpuDevices?: readonly string[];
  gpuLayers?: number;
  /** Tokens per parallel sequence. */
  contextSize?: number;
  threads?: number;
  /** Answers at once, 1..256; for `remote` missing = no limit of ours. */
  parallel?: number;
  memoryLimitBytes?: number;
  cpuLimit?: number;
  keepAliveSeconds?: number;
  environment?: Readonly<Record<string, string>>;
  image?: string;
  extraArgs?: readonly string[];
  health?: Partial<HealthPolicy>;
  restart?: Partial<RestartPolicy>;
  /** `remote` only. */
  baseUrl?: string;
  /** `remote` only: the model's name there; default: the first that `/v1/models` lists. */
  model?: string;
};

export type StartDeployment = {
  /** For a stopped deployment: start this one again; nothing else may be given. */
  deploymentId?: string;
  modelId?: string;
  variant?: string;
  runtime?: RuntimeId;
  /** `[a-z0-9][a-z0-9._-]{0,62}`; default: made from the model's name. */
  name?: string;
  config?: DeploymentConfig;
  /** `remote` only; stored apart, never shown again. */
  apiKey?: string;
  override: readonly 'fit'[];
  idempotencyKey?: string;
};

export type DeploymentHealth = {
  status: 'unknown' | 'healthy' | 'unhealthy';
  checkedAt: Date | null;
  consecutiveFailures: number;
  message: string | null;
};

export type DeploymentUseView = { cpuPercent: number | null; memoryBytes: number | null; gpuMemoryBytes: number | null };

export type LastExit = { code: number | null; signal: string | null; at: Date; reason: string | null };

export type DeploymentView = {
  id: string;
  name: string;
  /** Null for `remote`. */
  modelId: string | null;
  variant: string | null;
  installedModelId: string | null;
  runtime: RuntimeId;
  status: DeploymentStatus;
  desiredStatus: DesiredStatus;
  config: DeploymentConfig;
  /** Base address of the OpenAI-compatible server, without credentials; null unless it runs. */
  endpoint: string | null;
  health: DeploymentHealth;
  resources: DeploymentUseView;
  /** Since the last start that was asked for. */
  restarts: number;
  /** Runs so far; also numbers the log's runs. */
  runs: number;
  lastExit: LastExit | null;
  error: StoredError | null;
  createdAt: Date;
  startedAt: Date | null;
};

export type DeploymentFilter = { status?: DeploymentStatus; modelId?: string; /** Only of these. */ ids?: readonly string[] };

export type LogQuery = {
  /** Only the last n lines. */
  tail?: number;
  since?: Date;
  until?: Date;
  level?: LogLevel;
  /** Case-insensitive substring. */
  search?: string;
  limit: number;
  cursor?: string;
};

export type LogEvent = { type: 'line'; line: LogLine } | { type: 'dropped'; lines: number };

/** One change of a deployment's state, as `transition` recorded it. */
export type DeploymentEventView = { id: string; fromStatus: DeploymentStatus | null; toStatus: DeploymentStatus; reason: string | null; at: Date };

/** A model of a runtime's own store, e.g. one that was pulled with Ollama. */
export type OwnModelView = { modelId: string; sizeBytes: number; quantization: string | null };

export type RuntimeInfo = {
  id: RuntimeId;
  name: string;
  available: boolean;
  version: string | null;
  /** What is missing, or what it runs on. */
  detail: string | null;
  needsModel: boolean;
  formats: readonly string[];
  /** What it can run models with on this machine, and what it could; empty where there is nothing to choose. */
  engines: readonly EngineInfo[];
};

/** One program, build or server with which a runtime runs models. */
export type EngineInfo = {
  /** `llama-server`, `embedded-cpu`, `embedded-cuda`, `embedded-vulkan`, `embedded-metal`, `ollama`, `docker`, `docker-gpu`. */
  id: string;
  name: string;
  available: boolean;
  /** What a deployment that is started now runs on. */
  inUse: boolean;
  version: string | null;
  /** What it is, or what is missing. */
  detail: string | null;
  /** How to get it, in a sentence; null where it is there, and where this machine cannot have it. */
  remedy: string | null;
};

export type FitRequest = { modelId: string; variant?: string; config?: DeploymentConfig };

export type FitReport = {
  verdict: 'fits' | 'tight' | 'does_not_fit' | 'unknown';
  neededBytes: number;
  availableBytes: number;
  weightsBytes: number;
  kvCacheBytes: number | null;
  overheadBytes: number;
  contextSize: number;
  maxContextSize: number | null;
  reason: string;
};

/** What chat needs of a running deployment. */
export type InferenceTarget = {
  deploymentId: string;
  name: string;
  modelId: string | null;
  /** Base address; `/v1/chat/completions` is appended. */
  baseUrl: string;
  /** Name to send as `model`. */
  model: string;
  /** Sent with every request; never logged. */
  headers: Readonly<Record<string, string>>;
  /** What sends the request, in place of plain HTTP; see `RunningModel.http`. */
  http?: StreamingHttp;
  /** Tokens; null when not known. */
  contextSize: number | null;
  /** Aborts when this start of the engine ends, with an AppError (CRASHED, UNHEALTHY) or a StopReason. */
  lost: AbortSignal;
};

/** How a use of a running model went; what succeeds takes the place of a probe of its health. */
export type UseOutcome = 'succeeded' | 'failed' | 'unused';

export type ReadyTarget = InferenceTarget & {
  /** Ends this use: to be called once, when the answer has ended for whatever reason. A further call does nothing. */
  readonly release: (outcome: UseOutcome) => void;
};

/** Use cases of deployments; `DeploymentsService` implements it. */
export type Deployments = {
  /**
   * Records the wish and answers at once; the supervisor does the rest. Throws MODEL_NOT_INSTALLED,
   * MODEL_DOES_NOT_FIT, UNSUPPORTED_MODEL, NAME_TAKEN, PORT_IN_USE, RUNTIME_UNAVAILABLE, DEPLOYMENT_NOT_FOUND,
   * INVALID_STATE, FORBIDDEN (`remote` and overrides without ADMIN), VALIDATION_FAILED, IDEMPOTENCY_CONFLICT.
   */
  start(input: StartDeployment, principal: Principal, signal: AbortSignal): Promise<DeploymentView>;
  /** Running answers get the drain time. Stopping a stopped one answers it. */
  stop(id: string, signal: AbortSignal): Promise<DeploymentView>;
  /** What rests is checked as by `start` before it is started. */
  restart(id: string, principal: Principal, signal: AbortSignal): Promise<DeploymentView>;
  /** Name and config; takes effect with the next start. */
  update(id: string, change: { name?: string; config?: DeploymentConfig }, signal: AbortSignal): Promise<DeploymentView>;
  /** Stops it first; removes its logs. */
  delete(id: string, signal: AbortSignal): Promise<DeploymentView>;
  find(id: string): Promise<DeploymentView | null>;
  findByName(name: string): Promise<DeploymentView | null>;
  get(id: string): Promise<DeploymentView>;
  list(filter: DeploymentFilter, page: PageRequest): Promise<Page<DeploymentView>>;
  /** Those that exist, in one query. */
  findMany(ids: readonly string[]): Promise<readonly DeploymentView[]>;
  /** The newest deployments of each of these models, `limitEach` at most, in one query. */
  listByModels(modelIds: readonly string[], limitEach: number): Promise<readonly DeploymentView[]>;
  /** Its state changes, newest first. */
  events(id: string, page: PageRequest): Promise<Page<DeploymentEventView>>;
  logs(id: string, query: LogQuery, signal: AbortSignal): Promise<Page<LogLine>>;
  /** Stored lines after `since` (default: none), then live ones. A reader that falls behind is told what it missed. */
  followLogs(id: string, options: { since?: Date; level?: LogLevel; search?: string; tail?: number }, signal: AbortSignal): AsyncIterable<LogEvent>;
  /** The present state, then each change; all deployments when id is null. */
  watch(id: string | null, signal: AbortSignal): AsyncIterable<DeploymentView>;
  runtimes(signal: AbortSignal): Promise<readonly RuntimeInfo[]>;
  /** What the runtime's server has by itself and can be started by its id; empty where it does not answer. */
  ownModels(runtimeId: RuntimeId, signal: AbortSignal): Promise<readonly OwnModelView[]>;
  fit(request: FitRequest, signal: AbortSignal): Promise<FitReport>;
  /**
   * Where to send a request. Waits for a deployment that is starting; throws DEPLOYMENT_NOT_FOUND, INVALID_STATE
   * when it is stopped, RUNTIME_UNAVAILABLE when it failed.
   */
  target(id: string, signal: AbortSignal): Promise<InferenceTarget>;
  /**
   * Like `target`, for whoever sends a request: also loads a deployment with `keepAliveSeconds` that was unloaded
   * because nobody used it, and keeps it loaded until `release`. Never starts anything twice. Throws as `target`
   * does, OVERLOADED when as many wait already as may, MODEL_DOES_NOT_FIT when there is no room and none can be made.
   */
  ensureReady(id: string, signal: AbortSignal): Promise<ReadyTarget>;
  /** Whether a deployment that is not stopped uses the installed model. */
  usesInstalledModel(installedModelId: string): Promise<boolean>;
};
