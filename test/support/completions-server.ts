import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Gate } from '../../src/shared/async.ts';

/** What one completion does. Everything not named is what a healthy server does. */
export type CompletionScript = {
  tokens?: readonly string[];
  /** Between two tokens; default 0. */
  tokenMs?: number;
  /** The token with this index and all after it wait until the gate opens. */
  holdBefore?: { index: number; gate: Gate };
  /** Waited for before the token with each index, and before the end. */
  before?: (index: number) => Promise<unknown>;
  /** Answers with this instead of a stream. */
  refuse?: { status: number; body: unknown; headers?: Record<string, string> };
  /** Accepts the request and never answers. */
  hang?: boolean;
  /** Cuts the connection after so many tokens. */
  cutAfter?: number;
  /** Sent raw after so many tokens, then the stream goes on. */
  inject?: { after: number; raw: string };
  finishReason?: string;
  /** Answered as it is, whatever was asked; `isOpen`: its end never comes. */
  answer?: { contentType: string; body: string; isOpen?: boolean };
  /** Leaves out the usage chunk. */
  noUsage?: boolean;
};

export type SeenRequest = { path: string; body: Record<string, unknown>; headers: IncomingMessage['headers'] };

export type CompletionsServer = {
  readonly baseUrl: string;
  readonly requests: SeenRequest[];
  /** Completions whose connection is open. */
  readonly active: number;
  /** Completions that have had a slot. */
  readonly served: number;
  /** Completions beyond so many wait until one is over; null: none waits. */
  limitSlots(count: number | null): void;
  /** Completions whose client went away before the end. */
  readonly abandoned: number;
  /** The next completions, in order; after them `fallback`. */
  script(...scripts: CompletionScript[]): void;
  fallback(script: CompletionScript): void;
  /** Chooses by the request; wins over both. */
  scriptBy(choose: ((seen: SeenRequest) => CompletionScript) | null): void;
  /** Forgets scripts and requests. */
  reset(): void;
  close(): Promise<void>;
};

/** A small OpenAI-compatible server on a loopback port: streams scripted tokens and fails as it is told. */
export async function startCompletionsServer(): Promise<CompletionsServer> {
  const state = { scripts: [] as CompletionScript[], fallback: {} as CompletionScript, choose: null as ((seen: SeenRequest) => CompletionScript) | null, active: 0, abandoned: 0, served: 0, slots: null as number | null, playing: 0, waiting: [] as (() => void)[] };
  const freeSlots = (): void => {
    while (state.waiting.length > 0 && (state.slots === null || state.playing < state.slots)) {
      state.playing += 1;
      state.waiting.shift()?.();
    }
  };
  const requests: SeenRequest[] = [];
  const server = createServer((request, response) => {
    // What a client asks before it trusts the server.
    if (request.method === 'GET') {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ object: 'list', data: [{ id: 'scripted', object: 'model' }] }));
      return;
    }
    void (async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const seen = { path: request.url ?? '', body: JSON.parse(Buffer.concat(chunks).toString('utf8')) as Record<string, unknown>, headers: request.headers };
      requests.push(seen);
      const script = state.choose?.(seen) ?? state.scripts.shift() ?? state.fallback;
      state.active += 1;
      response.on('close', () => {
        state.active -= 1;
        if (!response.writableFinished) state.abandoned += 1;
      });
      await new Promise<void>((resolve) => {
        state.waiting.push(resolve);
        freeSlots();
      });
      state.served += 1;
      const giveBack = (): void => {
        state.playing -= 1;
        freeSlots();
      };
      if (response.destroyed) giveBack();
      else response.on('close', giveBack);
      await play(script, seen, response);
    })().catch(() => response.destroy());
  });
  server.keepAliveTimeout = 60_000;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    baseUrl: `http://127.0.0.1:${port}`,
    requests,
    get active() {
      return state.active;
    },
    get abandoned() {
      return state.abandoned;
    },
    get served() {
      return state.served;
    },
    limitSlots: (count) => {
      state.slots = count;
      freeSlots();
    },
    script: (...scripts) => void state.scripts.push(...scripts),
    fallback: (script) => void (state.fallback = script),
    scriptBy: (choose) => void (state.choose = choose),
    reset: () => {
      requests.length = 0;
      Object.assign(state, { scripts: [], fallback: {}, choose: null, served: 0, slots: null });
      freeSlots();
    },
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function play(script: CompletionScript, { path, body }: SeenRequest, response: ServerResponse): Promise<void> {
  if (script.hang) return;
  if (script.refuse) {
    const text = typeof script.refuse.body === 'string' ? script.refuse.body : JSON.stringify(script.refuse.body);
    response.writeHead(script.refuse.status, { 'content-type': 'application/json', ...script.refuse.headers }).end(text);
    return;
  }
  if (script.answer) {
    response.writeHead(200, { 'content-type': script.answer.contentType }).write(script.answer.body);
    if (!script.answer.isOpen) response.end();
    return;
  }
  const tokens = script.tokens ?? ['Hello', ' world'];
  if (body['stream'] !== true) {
    await prepare(script, tokens.length, response);
    if (!response.destroyed) response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(wholeAnswer(path, body, tokens)));
    return;
  }
  const isText = path === '/v1/completions';
  const chunk = (choice: Record<string, unknown>): string => event({ object: 'chat.completion.chunk', model: body['model'], choices: [{ index: 0, ...choice }] });
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.write(chunk({ delta: { role: 'assistant', content: null }, finish_reason: null }));
  for (const [index, token] of tokens.entries()) {
    await prepare(script, index, response);
    if (response.destroyed) return;
    response.write(chunk({ ...(isText ? { text: token } : { delta: { content: token } }), finish_reason: null }));
  }
  await prepare(script, tokens.length, response);
  if (response.destroyed) return;
  response.write(chunk({ delta: {}, finish_reason: script.finishReason ?? 'stop' }));
  if (!script.noUsage) response.write(event({ choices: [], usage: { prompt_tokens: 7, completion_tokens: tokens.length, total_tokens: 7 + tokens.length } }));
  response.end('data: [DONE]\n\n');
}

function wholeAnswer(path: string, body: Record<string, unknown>, tokens: readonly string[]): object {
  const model = body['model'];
  const usage = { prompt_tokens: 7, completion_tokens: tokens.length, total_tokens: 7 + tokens.length };
  if (path === '/v1/embeddings') {
    const inputs = Array.isArray(body['input']) ? body['input'] : [body['input']];
    const data = inputs.map((_input, index) => ({ object: 'embedding', index, embedding: [0.5, -1.25, index] }));
    return { object: 'list', model, data, usage: { prompt_tokens: 3, total_tokens: 3 } };
  }
  const text = tokens.join('');
  const choice = path === '/v1/completions' ? { text } : { message: { role: 'assistant', content: text } };
  return { id: 'x', object: 'chat.completion', created: 1, model, choices: [{ index: 0, ...choice, finish_reason: 'stop' }], usage };
}

/** What is to happen before the token at `index`, or before the end. */
async function prepare({ before, cutAfter, inject, holdBefore, tokenMs }: CompletionScript, index: number, response: ServerResponse): Promise<void> {
  await before?.(index);
  if (inject?.after === index) response.write(inject.raw);
  if (holdBefore?.index === index) await holdBefore.gate.opened;
  if (cutAfter === index) await cut(response);
  if (tokenMs) await delay(tokenMs);
}

/** What was written before has left; the end of the body has not. */
async function cut(response: ServerResponse): Promise<void> {
  await new Promise<void>((resolve) => response.write(': cut\n', () => {
      resolve();
    }));
  response.destroy();
}

function event(data: unknown): string {
  return `data: ${JSON.stringify(data)}\n\n`;
}

