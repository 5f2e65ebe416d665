import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { StopReason, isAbort } from '../../../../../shared/abort.ts';
import { createGate } from '../../../../../shared/async.ts';
import { createAnswerWriter, sendError, sendJson } from './answer-writer.ts';
import { readJson } from './body.ts';
import type { Embedder } from './embedder.ts';
import { parseEmbeddingRequest, toEmbeddingAnswer, type EmbeddingRequest } from './embedding-request.ts';
import type { Engine, GenerationResult } from './engine.ts';
import type { Lease } from './lease.ts';
import type { EngineLog } from './log.ts';
import { RequestError } from './request-error.ts';
import { parseChatRequest, parseCompletionRequest } from './requests.ts';
import type { GenerationRequest } from './requests.ts';
import { leaseMsMax, leasePath } from '../protocol.ts';

export type ServedModel = { engine: Engine; embedder: Embedder; contextSize: number; trainContextSize: number; loadedAt: Date };

export type EngineServerOptions = { secret: string; modelName: string; log: EngineLog; lease: Lease };

/** The engine's HTTP side. It listens before the model is loaded, so that `/health` can say "not yet". */
export class EngineServer {
  readonly http: Server;
  readonly #options: EngineServerOptions;
  readonly #secretDigest: Buffer;
  readonly #running = new Set<AbortController>();
  #served: ServedModel | undefined;
  #isDraining = false;
  /** Open once the last request has ended in a server that takes no more. */
  readonly #idle = createGate();

  constructor(options: EngineServerOptions) {
    this.#options = options;
    this.#secretDigest = digest(`Bearer ${options.secret}`);
    this.http = createServer((request, response) => void this.#handle(request, response));
  }

  serve(served: ServedModel): void {
    this.#served = served;
  }

  /**
   * Refuses new requests and resolves when the running ones have ended; those left after `drainMs` are aborted. A
   * further call with a shorter time shortens the wait of all.
   */
  async drain(drainMs: number): Promise<void> {
    this.#isDraining = true;
    const timer = setTimeout(() => {
      for (const controller of this.#running) controller.abort(new StopReason('shutdown'));
    }, drainMs);
    if (this.#running.size > 0) await this.#idle.opened;
    clearTimeout(timer);
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      await this.#route(request, response);
    } catch (error) {
      if (response.headersSent || response.destroyed) response.destroy();
      else {
        // What of the body was not read must not be taken for the next request, and the caller not send one there.
        if (!request.complete) response.setHeader('connection', 'close');
        sendError(response, this.#toRequestError(error));
      }
      if (!request.complete) request.destroy();
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
    if (path === '/health') {
      assertMethod(request, 'GET');
      this.#sendHealth(response);
      return;
    }
    this.#assertAuthorized(request);
    const parse = generationRoutes.get(path);
    if (path === '/v1/models') {
      assertMethod(request, 'GET');
      this.#sendModels(response);
      return;
    }
    if (path === leasePath) {
      assertMethod(request, 'POST');
      await this.#renewLease(request, response);
      return;
    }
    if (path === embeddingsPath) {
      assertMethod(request, 'POST');
      const { embedder } = this.#accepting();
      await this.#embed(embedder, parseEmbeddingRequest(await readJson(request)), response);
      return;
    }
    if (parse === undefined) throw new RequestError(404, 'not_found', 'There is no such route.');
    assertMethod(request, 'POST');
    const { engine } = this.#accepting();
    await this.#answer(engine, parse(await readJson(request)), response);
  }

  #assertAuthorized(request: IncomingMessage): void {
    if (timingSafeEqual(digest(request.headers.authorization ?? ''), this.#secretDigest)) return;
    throw new RequestError(401, 'invalid_api_key', 'The key is missing or wrong.');
  }

  #accepting(): ServedModel {
    if (this.#isDraining) throw new RequestError(503, 'shutting_down', 'The engine is stopping.', { retryAfterSeconds: 5 });
    if (this.#served === undefined) throw new RequestError(503, 'loading', 'The model is still being loaded.', { retryAfterSeconds: 1 });
    return this.#served;
  }

  #sendHealth(response: ServerResponse): void {
    const status = this.#isDraining ? 'stopping' : this.#served === undefined ? 'loading' : 'ok';
    const slots = this.#served?.engine.slots;
    sendJson(response, status === 'ok' ? 200 : 503, { status, ...(slots === undefined ? {} : { slots }) });
  }

  #sendModels(response: ServerResponse): void {
    const served = this.#served;
    const created = Math.floor((served?.loadedAt.getTime() ?? Date.now()) / 1000);
    const meta = served === undefined ? null : { n_ctx: served.contextSize, n_ctx_train: served.trainContextSize };
    sendJson(response, 200, { object: 'list', data: [{ id: this.#options.modelName, object: 'model', created, owned_by: 'llm-manager', meta }] });
  }

  async #renewLease(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readJson(request);
    const graceMs = typeof body === 'object' && body !== null && 'grace_ms' in body ? body.grace_ms : undefined;
    if (graceMs !== undefined && !(typeof graceMs === 'number' && graceMs >= 0 && graceMs <= leaseMsMax)) {
      throw new RequestError(400, 'invalid_request', `grace_ms must be from 0 to ${leaseMsMax}.`, { param: 'grace_ms' });
    }
    if (this.#isDraining) throw new RequestError(503, 'shutting_down', 'The engine is stopping.');
    this.#options.lease.renew(graceMs);
    sendJson(response, 200, { status: 'held' });
  }

  async #answer(engine: Engine, request: GenerationRequest, response: ServerResponse): Promise<void> {
    await this.#run(response, async (controller) => {
      const onReaderTooSlow = (): void => controller.abort(new StopReason('caller_gone'));
      const writer = createAnswerWriter({ response, request, modelName: this.#options.modelName, onReaderTooSlow });
      try {
        const prepared = await engine.prepare(request);
        const result = await engine.generate(prepared, writer, controller.signal);
        writer.finish(result);
        this.#options.log('info', describe(result));
      } catch (error) {
        if (isAbort(error) && response.destroyed) this.#options.log('info', 'The caller went away; the generation was stopped.');
        else writer.fail(this.#toRequestError(error));
      }
    });
  }

  async #embed(embedder: Embedder, request: EmbeddingRequest, response: ServerResponse): Promise<void> {
    await this.#run(response, async ({ signal }) => {
      const result = await embedder.embed(request, signal);
      sendJson(response, 200, toEmbeddingAnswer(result, request, this.#options.modelName));
      this.#options.log('info', `Embedded: ${result.vectors.length} texts, ${result.promptTokens} tokens.`);
    });
  }

  /** Work that is ended when its caller goes away or the server has drained long enough. */
  async #run(response: ServerResponse, work: (controller: AbortController) => Promise<void>): Promise<void> {
    const controller = new AbortController();
    const abort = (): void => controller.abort(new StopReason('caller_gone'));
    this.#running.add(controller);
    response.once('close', abort);
    try {
      await work(controller);
    } finally {
      response.off('close', abort);
      this.#running.delete(controller);
      if (this.#isDraining && this.#running.size === 0) this.#idle.open();
    }
  }

  #toRequestError(error: unknown): RequestError {
    if (error instanceof RequestError) return error;
    if (isAbort(error)) return new RequestError(503, 'shutting_down', 'The engine stopped before the answer was finished.', { retryAfterSeconds: 5 });
    this.#options.log('error', `A request failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    return new RequestError(500, 'internal_error', 'The engine failed to answer.');
  }
}

const embeddingsPath = '/v1/embeddings';
const generationRoutes: ReadonlyMap<string, (body: unknown) => GenerationRequest> = new Map([
  ['/v1/chat/completions', parseChatRequest],
  ['/v1/completions', parseCompletionRequest],
]);

function assertMethod(request: IncomingMessage, method: 'GET' | 'POST'): void {
  if (request.method === method || (method === 'GET' && request.method === 'HEAD')) return;
  throw new RequestError(405, 'method_not_allowed', `Only ${method} is allowed here.`);
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

function describe({ promptTokens, cachedTokens, completionTokens, promptMs, generationMs, finishReason }: GenerationResult): string {
  const speed = generationMs > 0 ? `, ${(((completionTokens - 1) * 1000) / generationMs).toFixed(1)} tokens/s` : '';
  return `Answered: ${promptTokens} prompt tokens (${cachedTokens} cached) in ${promptMs.toFixed(0)} ms, ${completionTokens} tokens${speed}, ${finishReason}.`;
}
