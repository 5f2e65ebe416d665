import { z } from 'zod';
import { AppError } from '../../../shared/errors.ts';
import type { ModelRef } from '../../catalog/types.ts';
import type { OllamaStore, PullEvent } from '../ollama-store.ts';
import { insufficientStorage } from './faults.ts';

export type OllamaPullOptions = {
  /** Base address of the server. */
  host: string;
  /** Without time limits of its own. */
  fetch: typeof fetch;
  /** Where the catalogue reads manifests; the server pulls from there too. */
  registryEndpoint: string;
  hubEndpoint: string;
  idleMs?: number;
};

const defaultRegistries = new Set(['registry.ollama.ai', 'ollama.com']);
/** The server tells its progress many times a second, and gives a stalled layer up after half a minute itself. */
const idleMsDefault = 120_000;
/** Comparing the digest of a large layer is silent. */
const quietMs = 60 * 60_000;
const answerMs = 10_000;
/** A frame has some hundred characters. */
const lineCharsMax = 64 * 1024;
const bodyCharsMax = 8 * 1024 * 1024;

const frameSchema = z.object({
  status: z.string().max(2_000).catch(''),
  digest: z.string().max(200).optional().catch(undefined),
  completed: z.number().int().nonnegative().optional().catch(undefined),
  error: z.string().max(lineCharsMax).optional().catch(undefined),
});
const tagsSchema = z.object({ models: z.array(z.object({ name: z.string(), digest: z.string() })).nullish() });

/** The store of a running Ollama server, by its HTTP API. */
export function createOllamaStore(options: OllamaPullOptions): OllamaStore {
  const host = options.host.replace(/\/+$/, '');
  const call = async (path: string, init: RequestInit, signal: AbortSignal): Promise<Response> => {
    signal.throwIfAborted();
    try {
      return await options.fetch(`${host}${path}`, { ...init, headers: { 'content-type': 'application/json' }, signal });
    } catch (cause) {
      throw signal.aborted ? cause : new AppError('RUNTIME_UNAVAILABLE', `The Ollama server at ${host} does not answer.`, { cause });
    }
  };
  return {
    nameOf: (model) => nameOf(model, options),
    pull: async (name, onEvent, signal) => {
      const idle = new IdleTimer(options.idleMs ?? idleMsDefault);
      try {
        const own = AbortSignal.any([signal, idle.signal]);
        const body = JSON.stringify({ model: name, stream: true, ...(isPlainHttp(name, options) ? { insecure: true } : {}) });
        await follow(await call('/api/pull', { method: 'POST', body }, own), onEvent, idle);
      } catch (cause) {
        signal.throwIfAborted();
        throw cause instanceof AppError ? cause : new AppError('NETWORK_FAILED', 'The connection to the Ollama server was lost.', { cause });
      } finally {
        idle.end();
      }
    },
    digestOf: async (name, signal) => {
      const own = AbortSignal.any([signal, AbortSignal.timeout(answerMs)]);
      const answer = await call('/api/tags', {}, own).catch((cause: unknown) => {
        signal.throwIfAborted();
        throw cause instanceof AppError ? cause : new AppError('RUNTIME_UNAVAILABLE', `The Ollama server at ${host} does not answer in time.`, { cause });
      });
      const { models } = tagsSchema.catch({ models: [] }).parse(await jsonOf(answer));
      return models?.find((model) => model.name === name)?.digest.replace(/^sha256:/, '') ?? null;
    },
    remove: async (name, signal) => {
      const answer = await call('/api/delete', { method: 'DELETE', body: JSON.stringify({ model: name }) }, AbortSignal.any([signal, AbortSignal.timeout(answerMs)]));
      await answer.body?.cancel();
      if (!answer.ok && answer.status !== 404) throw new AppError('RUNTIME_UNAVAILABLE', 'The Ollama server did not remove the model.', { internal: `status ${answer.status}` });
    },
  };
}

function nameOf({ ref, quantization }: { ref: ModelRef; quantization: string | null }, { registryEndpoint, hubEndpoint }: OllamaPullOptions): string | null {
  if (ref.source === 'huggingface') {
    const hub = new URL(hubEndpoint).host;
    return quantization !== null && ref.name.includes('/') ? `${hub === 'huggingface.co' ? 'hf.co' : hub}/${ref.name}:${quantization}` : null;
  }
  if (ref.source !== 'ollama') return null;
  const name = `${ref.name}:${ref.revision ?? 'latest'}`;
  const registry = new URL(registryEndpoint).host;
  return defaultRegistries.has(registry) ? name : `${registry}/${ref.name.includes('/') ? name : `library/${name}`}`;
}

function isPlainHttp(name: string, { registryEndpoint, hubEndpoint }: OllamaPullOptions): boolean {
  return [registryEndpoint, hubEndpoint].map((endpoint) => new URL(endpoint)).some(({ protocol, host }) => protocol === 'http:' && name.startsWith(`${host}/`));
}

/** Aborts when nothing was heard for a while. */
class IdleTimer {
  readonly #controller = new AbortController();
  #ms: number;
  #timer: NodeJS.Timeout;

  constructor(ms: number) {
    this.#ms = ms;
    this.#timer = this.#start();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  heard(): void {
    this.#timer.refresh();
  }

  allow(ms: number): void {
    clearTimeout(this.#timer);
    this.#ms = ms;
    this.#timer = this.#start();
  }

  end(): void {
    clearTimeout(this.#timer);
  }

  #start(): NodeJS.Timeout {
    return setTimeout(() => this.#controller.abort(new AppError('NETWORK_FAILED', 'The Ollama server has told nothing for too long.')), this.#ms).unref();
  }
}

async function follow(answer: Response, onEvent: (event: PullEvent) => void, idle: IdleTimer): Promise<void> {
  if (!answer.ok || !answer.body) throw toFault(z.object({ error: z.string() }).catch({ error: `status ${answer.status}` }).parse(await jsonOf(answer)).error);
  let isVerifying = false;
  for await (const line of readLines(answer.body)) {
    idle.heard();
    const { status, digest, completed, error } = parseFrame(line);
    if (error !== undefined) throw toFault(error);
    if (status === 'success') return;
    if (digest !== undefined) onEvent({ type: 'layer', layer: { digest, completedBytes: completed ?? 0 } });
    else if (/^(?:verifying|writing)/.test(status) && !isVerifying) {
      isVerifying = true;
      idle.allow(quietMs);
      onEvent({ type: 'verifying' });
    }
  }
  throw new AppError('NETWORK_FAILED', 'The Ollama server ended before the model was whole.');
}

async function* readLines(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > lineCharsMax) throw notAnAnswer('a line without an end');
    yield* lines.filter((line) => line.trim() !== '');
  }
}

function parseFrame(line: string): z.infer<typeof frameSchema> {
  try {
    return frameSchema.parse(JSON.parse(line));
  } catch (cause) {
    throw notAnAnswer(line.slice(0, 200), cause);
  }
}

async function jsonOf(answer: Response): Promise<unknown> {
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of answer.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > bodyCharsMax) throw notAnAnswer('too much');
  }
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
}

function notAnAnswer(internal: string, cause?: unknown): AppError {
  return new AppError('RUNTIME_UNAVAILABLE', 'The Ollama server sent something that is not an answer.', { internal, cause });
}

/** The server tells what went wrong in words only. */
function toFault(text: string): AppError {
  const options = { internal: text.slice(0, 500) };
  if (/file does not exist|not found|invalid model name|manifest unknown/i.test(text)) return new AppError('MODEL_NOT_FOUND', 'The registry has no such model for the Ollama server.', options);
  if (/unauthori[sz]ed|access denied|401|403/i.test(text)) return new AppError('MODEL_GATED', 'The registry does not give this model to the Ollama server: its own key needs access there.', options);
  if (/newer version|requires ollama|sharded/i.test(text)) return new AppError('UNSUPPORTED_MODEL', 'This Ollama server cannot take the model; a newer version may.', options);
  if (/no space left|disk quota|not enough space/i.test(text)) return insufficientStorage(0, 0, new Error(options.internal));
  if (/dial tcp|lookup |EOF|timeout|timed out|reset by peer|max retries|connection/i.test(text)) return new AppError('NETWORK_FAILED', 'The Ollama server cannot reach its registry at present.', options);
  return new AppError('SOURCE_UNAVAILABLE', 'The Ollama server could not pull the model.', options);
}
