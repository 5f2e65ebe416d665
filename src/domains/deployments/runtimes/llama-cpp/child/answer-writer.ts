import type { ServerResponse } from 'node:http';
import { randomUUID } from 'node:crypto';
import type { GenerationResult, PieceSink } from './engine.ts';
import type { GenerationRequest } from './requests.ts';
import { toErrorBody } from './request-error.ts';
import type { RequestError } from './request-error.ts';

/** What a reader may leave unread before it counts as gone: pieces cannot be held back inside the generation. */
const unreadBytesMax = 4 * 1024 * 1024;

/** Turns one generation into an OpenAI answer. `fail` may come at any time, also after pieces were sent. */
export type AnswerWriter = PieceSink & {
  finish(result: GenerationResult): void;
  fail(error: RequestError): void;
};

export type AnswerOptions = { response: ServerResponse; request: GenerationRequest; modelName: string; onReaderTooSlow: () => void };

export function createAnswerWriter(options: AnswerOptions): AnswerWriter {
  return options.request.stream ? createStreamWriter(options) : createWholeWriter(options);
}

export function sendJson(response: ServerResponse, status: number, body: object, headers: Record<string, string> = {}): void {
  const text = JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', 'content-length': Buffer.byteLength(text), ...headers });
  response.end(text);
}

export function sendError(response: ServerResponse, error: RequestError): void {
  const headers = error.retryAfterSeconds === undefined ? {} : { 'retry-after': String(error.retryAfterSeconds) };
  sendJson(response, error.status, toErrorBody(error), headers);
}

type Shape = { id: string; created: number; isChat: boolean };

function createShape(request: GenerationRequest): Shape {
  const isChat = request.prompt.type === 'chat';
  return { id: `${isChat ? 'chatcmpl' : 'cmpl'}-${randomUUID()}`, created: Math.floor(Date.now() / 1000), isChat };
}

function createWholeWriter({ response, request, modelName }: AnswerOptions): AnswerWriter {
  const { id, created, isChat } = createShape(request);
  let text = '';
  let thought = '';
  return {
    onStart: () => undefined,
    onText: (piece) => void (text += piece),
    onThought: (piece) => void (thought += piece),
    fail: (error) => sendError(response, error),
    finish: (result) => {
      const message = { role: 'assistant', content: text, ...(thought === '' ? {} : { reasoning_content: thought }) };
      const choice = { index: 0, ...(isChat ? { message } : { text }), logprobs: null, finish_reason: result.finishReason };
      const object = isChat ? 'chat.completion' : 'text_completion';
      sendJson(response, 200, { id, object, created, model: modelName, choices: [choice], usage: toUsage(result), timings: toTimings(result) });
    },
  };
}

function createStreamWriter({ response, request, modelName, onReaderTooSlow }: AnswerOptions): AnswerWriter {
  const { id, created, isChat } = createShape(request);
  const head = { id, object: isChat ? 'chat.completion.chunk' : 'text_completion', created, model: modelName };
  const send = (data: string): void => {
    response.write(`data: ${data}\n\n`);
    if (response.writableLength > unreadBytesMax) onReaderTooSlow();
  };
  const sendChoice = (content: object, finishReason: string | null, extra: object = {}): void =>
    send(JSON.stringify({ ...head, choices: [{ index: 0, ...content, finish_reason: finishReason }], ...extra }));
  const sendDelta = (delta: object): void => sendChoice({ delta }, null);
  return {
    onStart: () => {
      // Closed at the end: some clients reuse a connection in the moment in which it ends.
      response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache', connection: 'close' });
      response.flushHeaders();
      if (isChat) sendDelta({ role: 'assistant', content: '' });
    },
    onText: (piece) => (isChat ? sendDelta({ content: piece }) : sendChoice({ text: piece }, null)),
    onThought: (piece) => isChat && sendDelta({ reasoning_content: piece }),
    finish: (result) => {
      sendChoice(isChat ? { delta: {} } : { text: '' }, result.finishReason, { timings: toTimings(result) });
      if (request.includeUsage) send(JSON.stringify({ ...head, choices: [], usage: toUsage(result) }));
      send('[DONE]');
      response.end();
    },
    fail: (error) => {
      if (!response.headersSent) {
        sendError(response, error);
        return;
      }
      send(JSON.stringify(toErrorBody(error)));
      response.end();
    },
  };
}

function toUsage({ promptTokens, completionTokens, cachedTokens }: GenerationResult): object {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
  };
}

/** In the words of llama-server, so that the reader's code is the same for both. */
function toTimings({ promptTokens, cachedTokens, completionTokens, promptMs, generationMs }: GenerationResult): object {
  const evaluated = promptTokens - cachedTokens;
  const perSecond = (count: number, durationMs: number): number => (durationMs > 0 ? (count * 1000) / durationMs : 0);
  return {
    prompt_n: evaluated,
    prompt_ms: promptMs,
    prompt_per_second: perSecond(evaluated, promptMs),
    predicted_n: completionTokens,
    predicted_ms: generationMs,
    predicted_per_second: perSecond(completionTokens - 1, generationMs),
  };
}
