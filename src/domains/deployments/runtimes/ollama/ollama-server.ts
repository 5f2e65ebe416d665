import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { realpath } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { Ollama, type CreateRequest, type ProgressResponse } from 'ollama';
import { AppError } from '../../../../shared/errors.ts';
import type { OwnModel } from '../../runtime.ts';
import type { DeploymentConfig } from '../../types.ts';
import { boundedAnswer, refusalOf, type AnswerKind } from './bounded-answers.ts';
import { contextLengthOf, loadedOf, modelsOf, versionOf, type LoadedModel } from './server-answers.ts';
import { judgeVersion } from './versions.ts';

/** What a model is loaded with. Sent with every request too, because others would make the server load it anew. */
export type LoadOptions = Readonly<Partial<Record<'num_ctx' | 'num_gpu' | 'num_thread', number>>>;

/** Those of a deployment. */
export function loadOptionsOf({ gpuLayers, threads }: DeploymentConfig, contextSize: number): LoadOptions & { num_ctx: number } {
  return { num_ctx: contextSize, ...(gpuLayers === undefined ? {} : { num_gpu: gpuLayers }), ...(threads === undefined ? {} : { num_thread: threads }) };
}

/** Until it is told to unload: when nobody uses a model is for the supervisor to say. */
export const keepLoaded = -1;
/** Between two steps of a pull or an upload that are told. */
const progressShare = 0.1;
/** Of what is answered at once; a server under load may still be a moment late. */
const answerMsMax = 10_000;
const wordsMax = 300;

/** One Ollama server, through its own client library. All reject with the signal's reason when it aborts. */
export class OllamaServer {
  readonly host: string;
  readonly #fetch: typeof fetch;

  constructor(host: string, fetchLike: typeof fetch) {
    this.host = host.replace(/\/+$/, '');
    this.#fetch = fetchLike;
  }

  async version(signal: AbortSignal): Promise<string> {
    return versionOf(await this.#ask(signal, (client) => client.version()));
  }

  /** Throws RUNTIME_UNAVAILABLE where it does not answer or is of a version that cannot be used. */
  async assertUsable(signal: AbortSignal): Promise<{ version: string; warning: string | null }> {
    const version = await this.version(signal).catch((cause: unknown) => {
      signal.throwIfAborted();
      throw new AppError('RUNTIME_UNAVAILABLE', `The Ollama server at ${this.host} does not answer.`, { cause });
    });
    const { fault, warning } = judgeVersion(version);
    if (fault !== null) throw new AppError('RUNTIME_UNAVAILABLE', fault);
    return { version, warning };
  }

  /** What is loaded; the names are complete, with their tag. */
  async loaded(signal: AbortSignal): Promise<readonly LoadedModel[]> {
    return loadedOf(await this.#ask(signal, (client) => client.ps()));
  }

  async has(model: string, signal: AbortSignal): Promise<boolean> {
    return (await this.find(model, signal)) !== null;
  }

  async models(signal: AbortSignal): Promise<readonly OwnModel[]> {
    return modelsOf(await this.#ask(signal, (client) => client.list()));
  }

  async find(model: string, signal: AbortSignal): Promise<OwnModel | null> {
    return (await this.models(signal)).find(({ name }) => name === completeName(model)) ?? null;
  }

  /** What it was trained for; null where the server does not tell. */
  async contextLength(model: string, signal: AbortSignal): Promise<number | null> {
    return contextLengthOf(await this.#ask(signal, (client) => client.show({ model })));
  }

  /** Makes a model of a GGUF on this machine, its bytes sent unless the server has them. */
  async createFrom(file: string, name: string, tell: (message: string) => void, signal: AbortSignal): Promise<void> {
    const digest = await digestOf(file, signal);
    await this.#upload(file, digest, tell, signal);
    const request: CreateRequest & { files: Record<string, string>; stream: true } = { model: name, files: { [path.basename(file)]: digest }, stream: true };
    await this.#follow(signal, (client) => client.create(request), tell);
  }

  async pull(model: string, tell: (message: string) => void, signal: AbortSignal): Promise<void> {
    await this.#follow(signal, (client) => client.pull({ model, stream: true }), tell);
  }

  async load(model: string, options: LoadOptions, signal: AbortSignal): Promise<void> {
    await this.#call(signal, 'whole', (client) => client.chat({ model, messages: [], options, keep_alive: keepLoaded }));
  }

  /** One that is not there is fine. */
  async unload(model: string, signal: AbortSignal): Promise<void> {
    const loaded = await this.loaded(signal);
    if (loaded.some(({ name }) => name === completeName(model))) await this.#call(signal, 'whole', (client) => client.chat({ model, messages: [], keep_alive: 0 }));
  }

  async #upload(file: string, digest: string, tell: (message: string) => void, signal: AbortSignal): Promise<void> {
    const url = `${this.host}/api/blobs/${digest}`;
    const known = await this.#fetch(url, { method: 'HEAD', signal: AbortSignal.any([signal, AbortSignal.timeout(answerMsMax)]) });
    await known.body?.cancel();
    if (known.ok) return;
    tell(`Sending ${path.basename(file)} to the Ollama server.`);
    // Node streams a body only when it is told that the answer comes after it.
    const body = { method: 'POST', body: Readable.toWeb(createReadStream(file)), duplex: 'half', signal } as RequestInit;
    const sent = await this.#fetch(url, body);
    if (!sent.ok) throw new AppError('START_FAILED', `The Ollama server did not take the model's file (status ${sent.status}): ${await refusalOf(sent)}`);
  }

  async #follow(signal: AbortSignal, begin: (client: Ollama) => Promise<AsyncIterable<ProgressResponse>>, tell: (message: string) => void): Promise<void> {
    await this.#call(signal, 'lines', async (client) => {
      let status = '';
      let share = 0;
      for await (const step of await begin(client)) {
        const now = step.total > 0 ? (step.completed || 0) / step.total : 0;
        const told = step.status.slice(0, wordsMax);
        if (told === status && now - share < progressShare) continue;
        status = told;
        share = now;
        tell(step.total > 0 ? `${status}: ${Math.round(now * 100)} %` : status);
      }
    });
  }

  /** For what is answered at once. Answers are not what the client's types say until they are looked at. */
  async #ask(signal: AbortSignal, use: (client: Ollama) => Promise<unknown>): Promise<unknown> {
    const limit = AbortSignal.timeout(answerMsMax);
    return await this.#call(AbortSignal.any([signal, limit]), 'whole', use).catch((error: unknown) => {
      signal.throwIfAborted();
      throw limit.aborted ? new Error('it does not answer in time') : error;
    });
  }

  async #call<T>(signal: AbortSignal, kind: AnswerKind, use: (client: Ollama) => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    const linked: typeof fetch = async (input, init) => {
      const linkedSignal = init?.signal ? AbortSignal.any([signal, init.signal]) : signal;
      return await boundedAnswer(await this.#fetch(input, { ...init, signal: linkedSignal }), kind);
    };
    try {
      return await use(new Ollama({ host: this.host, fetch: linked }));
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    }
  }
}

export const completeName = (model: string): string => (/:[^/]+$/.test(model) ? model : `${model}:latest`);

/** Files of the shared cache are named by their hash already; the server checks what it is told. */
export async function digestOf(file: string, signal: AbortSignal): Promise<string> {
  const name = path.basename(await realpath(file)).replace(/^sha256-/, '');
  if (/^[0-9a-f]{64}$/.test(name)) return `sha256:${name}`;
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { signal, highWaterMark: 1024 * 1024 })) hash.update(chunk as Buffer);
  return `sha256:${hash.digest('hex')}`;
}
