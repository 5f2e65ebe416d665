import * as z from 'zod';
import { AppError, isAppError, type FieldFault } from '../../../../shared/errors.ts';
import type { OutgoingHttp } from '../../../../shared/outgoing-http.ts';
import type { ModelRuntime, RunningModel, RuntimeExit, RuntimeStart } from '../../runtime.ts';
import type { DeploymentConfig } from '../../types.ts';

export type RemoteRuntimeDeps = { http: OutgoingHttp };

export const remoteRuntimeId = 'remote';

const unusable: readonly { key: keyof DeploymentConfig; field: string }[] = [
  { key: 'port', field: 'config.port' },
  { key: 'gpuDevices', field: 'config.gpu_devices' },
  { key: 'gpuLayers', field: 'config.gpu_layers' },
  { key: 'threads', field: 'config.threads' },
  { key: 'memoryLimitBytes', field: 'config.memory_limit_bytes' },
  { key: 'cpuLimit', field: 'config.cpu_limit' },
  { key: 'keepAliveSeconds', field: 'config.keep_alive_seconds' },
  { key: 'environment', field: 'config.environment' },
  { key: 'image', field: 'config.image' },
  { key: 'extraArgs', field: 'config.extra_args' },
];

/** A list of models is small; some gateways list thousands. */
const modelsBytesMax = 4 * 1024 * 1024;
const nameLengthMax = 300;
// Letters of any alphabet, no controls and nothing invisible: the first one is stored, shown and sent back.
const isName = (id: string): boolean => id.length <= nameLengthMax && id.isWellFormed() && /^[^\p{C}\p{Zl}\p{Zp}]+$/u.test(id);
const modelsSchema = z.object({ data: z.array(z.object({ id: z.string() })) });

/** Uses a server that somebody else runs and that speaks OpenAI's HTTP: vLLM, LM Studio, Ollama, a hosted one. */
export function createRemoteRuntime(deps: RemoteRuntimeDeps): ModelRuntime {
  const name = 'OpenAI-compatible server';
  return {
    id: remoteRuntimeId,
    name,
    capabilities: { needsModel: false, formats: [], adminOnly: true },
    // Restarting means asking again: that is worth going on with for as long as the server is away.
    defaults: { health: { intervalSeconds: 30, timeoutSeconds: 10 }, restart: { policy: 'always', maxRetries: 100 } },
    probe: () => Promise.resolve({ id: remoteRuntimeId, name, available: true, version: null, detail: null, needsModel: false, formats: [], engines: [] }),
    validate,
    start: (request, signal) => start(deps, request, signal),
    endOrphan: () => Promise.resolve(),
  };
}

function validate(config: DeploymentConfig): readonly FieldFault[] {
  const faults = unusable.flatMap(({ key, field }) => (config[key] === undefined ? [] : [{ field, message: 'is for runtimes that run the model on this machine' }]));
  const message = urlFault(config.baseUrl);
  return message === null ? faults : [...faults, { field: 'config.base_url', message }];
}

function urlFault(baseUrl: string | undefined): string | null {
  if (baseUrl === undefined) return 'is required';
  const url = URL.parse(baseUrl);
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:')) return 'must be an http or https URL';
  if (url.username !== '' || url.password !== '') return 'may not hold a name or password; use config.api_key';
  if (url.search !== '' || url.hash !== '') return 'may not have a query or fragment';
  return null;
}

/** With or without `/v1` at its end means the same server; what is stored and used has neither it nor a slash. */
export function normaliseBaseUrl(baseUrl: string): string {
  const url = new URL(baseUrl);
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '').replace(/\/v1$/, '').replace(/\/+$/, '');
}

async function start(deps: RemoteRuntimeDeps, request: RuntimeStart, signal: AbortSignal): Promise<RunningModel> {
  const { config, apiKey } = request;
  const baseUrl = normaliseBaseUrl(config.baseUrl ?? '');
  const headers: Record<string, string> = apiKey === null ? {} : { authorization: `Bearer ${apiKey}` };
  const models = await listModels(deps, { baseUrl, headers }, signal).catch((error: unknown) => {
    signal.throwIfAborted();
    const reason = error instanceof Error ? error.message : 'no reason is known';
    throw new AppError('START_FAILED', `The server at ${baseUrl} cannot be used: ${reason}`, { cause: error });
  });
  if (config.model !== undefined && !models.includes(config.model)) {
    // Gateways serve more than they list, so this is told and not refused.
    request.log('supervisor', 'warn', `The server does not list the model ${config.model}.`);
  }
  const handle = { runtime: remoteRuntimeId, pid: null, startTime: null, containerId: null };
  await request.onHandle(handle);
  return {
    baseUrl,
    model: config.model ?? models[0] ?? '',
    headers,
    contextSize: config.contextSize ?? null,
    handle,
    exited: Promise.withResolvers<RuntimeExit>().promise,
    check: async (checkSignal) => {
      await listModels(deps, { baseUrl, headers }, checkSignal);
    },
    use: () => Promise.resolve({ cpuPercent: null, memoryBytes: null, gpuMemoryBytes: null }),
    // Nothing of it is ours to end.
    stop: () => Promise.resolve(),
  };
}

async function listModels(deps: RemoteRuntimeDeps, server: { baseUrl: string; headers: Readonly<Record<string, string>> }, signal: AbortSignal): Promise<string[]> {
  const url = `${server.baseUrl}/v1/models`;
  const { status, body } = await deps.http({ method: 'GET', url, headers: server.headers, maxBytes: modelsBytesMax, allowPrivate: true }, signal).catch((error: unknown) => {
    signal.throwIfAborted();
    throw isAppError(error) ? new Error(error.message, { cause: error }) : error;
  });
  if (status === 401 || status === 403) throw new Error(`it refuses the key (status ${status})`);
  if (status !== 200) throw new Error(`/v1/models answered with status ${status}`);
  const parsed = modelsSchema.safeParse(parseJson(Buffer.from(body).toString('utf8')));
  const names = parsed.success ? parsed.data.data.map(({ id }) => id).filter(isName) : [];
  if (names.length === 0) throw new Error('/v1/models did not answer with a list of models');
  return names;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
