/** `/api/chat` and `/api/generate`: load, unload, and answers one token a line. */
import type { Exchange } from '../hub/http-double.ts';
import { pause, whileConnected } from '../hub/http-double.ts';
import { createBodyWriter, sendJson } from '../hub/send.ts';
import type { Body, ChatMessage, DaemonModel, DaemonState, Generation } from './daemon-models.ts';
import { DaemonError, findModel, fullName, keepAliveMs, readJson, readName } from './daemon-models.ts';

const FLOAT_OPTIONS = ['temperature', 'top_p', 'min_p', 'repeat_penalty', 'presence_penalty', 'frequency_penalty', 'typical_p'];
const INT_OPTIONS = ['num_ctx', 'num_predict', 'top_k', 'seed', 'num_keep', 'repeat_last_n', 'num_batch', 'num_gpu', 'num_thread'];
const NS_PER_MS = 1e6;

export type Token = { text: string } | { error: string } | { end: 'stop' | 'length' };

export function readMessages(body: Body): ChatMessage[] {
  const messages = Array.isArray(body['messages']) ? (body['messages'] as Body[]) : [];
  return messages.map(({ role, content }) => ({ role: String(role), content: typeof content === 'string' ? content : JSON.stringify(content ?? '') }));
}

/** Unknown options are ignored without a word, as the real server does. */
function checkOptions(options: Body): void {
  for (const [names, type] of [[FLOAT_OPTIONS, 'float32'], [INT_OPTIONS, 'integer']] as const) {
    const wrong = names.find((name) => options[name] !== undefined && typeof options[name] !== 'number');
    if (wrong !== undefined) throw new DaemonError(400, `option "${wrong}" must be of type ${type}`);
  }
}

function checkAbilities({ capabilities, name }: DaemonModel, body: Body): void {
  if (body['think'] !== undefined && body['think'] !== false && !capabilities.includes('thinking')) throw new DaemonError(400, `"${name}" does not support thinking`);
  if (Array.isArray(body['tools']) && body['tools'].length > 0 && !capabilities.includes('tools')) throw new DaemonError(400, `${fullName(name)} does not support tools`);
}

export async function load(state: DaemonState, exchange: Exchange, model: DaemonModel, { keepAlive, contextLength }: { keepAlive: number; contextLength?: unknown }): Promise<void> {
  if (!state.runners.has(model.name)) await pause(state.knobs.loadMilliseconds, exchange.signal);
  const context = typeof contextLength === 'number' ? contextLength : Math.min(4096, model.contextLength);
  state.runners.set(model.name, { model, expiresAt: Date.now() + keepAlive, contextLength: context });
}

/** The answer's tokens, with the knobs applied; ends early when the client leaves. */
export async function* generate(state: DaemonState, exchange: Exchange, messages: readonly ChatMessage[], limits: { model: string; maxTokens: number }): AsyncGenerator<Token> {
  const { knobs } = state;
  const generation: Generation = { model: limits.model, tokens: 0, state: 'running' };
  state.generations.push(generation);
  try {
    const tokens = knobs.reply(messages);
    for (const text of tokens.slice(0, limits.maxTokens)) {
      if (knobs.failAfterTokens === generation.tokens) {
        generation.state = 'failed';
        yield { error: 'an error was encountered while running the model: unexpected EOF' };
        return;
      }
      if (knobs.stallAfterTokens === generation.tokens) await whileConnected(null, exchange.signal);
      if (knobs.tokenDelayMilliseconds > 0) await pause(knobs.tokenDelayMilliseconds, exchange.signal);
      if (exchange.signal.aborted) return;
      generation.tokens += 1;
      yield { text };
    }
    generation.state = 'done';
    yield { end: tokens.length > limits.maxTokens ? 'length' : 'stop' };
  } finally {
    if (generation.state === 'running') generation.state = 'cancelled';
    exchange.log.changed();
  }
}

export function countTokens(messages: readonly ChatMessage[]): number {
  return messages.reduce((sum, { content }) => sum + content.split(/\s+/).length + 4, 0);
}

type Shape = { model: string; piece: (text: string) => Body; promptTokens: number };

function lastLine({ model, piece, promptTokens }: Shape, reason: string, tokens: number, startedAt: number): Body {
  const total = Math.round((performance.now() - startedAt) * NS_PER_MS);
  return {
    model, created_at: new Date().toISOString(), ...piece(''), done: true, done_reason: reason,
    total_duration: total, load_duration: Math.round(total / 10), prompt_eval_count: promptTokens, prompt_eval_duration: Math.round(total / 10), eval_count: tokens, eval_duration: Math.round(total / 2),
  };
}

async function streamLines(exchange: Exchange, tokens: AsyncGenerator<Token>, shape: Shape): Promise<void> {
  const startedAt = performance.now();
  exchange.entry.status = 200;
  exchange.res.writeHead(200, { 'content-type': 'application/x-ndjson' });
  const writer = createBodyWriter(exchange);
  const line = (value: Body): Promise<boolean> => writer.write(Buffer.from(`${JSON.stringify(value)}\n`));
  let count = 0;
  for await (const token of tokens) {
    if ('text' in token) {
      count += 1;
      if (!(await line({ model: shape.model, created_at: new Date().toISOString(), ...shape.piece(token.text), done: false }))) return;
    } else if (!(await line('error' in token ? token : lastLine(shape, token.end, count, startedAt)))) return;
  }
  if (!exchange.signal.aborted) writer.end();
}

async function sendWhole(exchange: Exchange, tokens: AsyncGenerator<Token>, shape: Shape): Promise<void> {
  const startedAt = performance.now();
  let text = '';
  let count = 0;
  for await (const token of tokens) {
    if ('error' in token) throw new DaemonError(500, token.error);
    if ('end' in token) {
      await sendJson(exchange, { ...lastLine(shape, token.end, count, startedAt), ...shape.piece(text) });
      return;
    }
    text += token.text;
    count += 1;
  }
}

export async function chat(state: DaemonState, exchange: Exchange, kind: 'chat' | 'generate'): Promise<void> {
  const body = await readJson(exchange);
  const model = findModel(state, readName(body));
  const name = String(body['model']);
  const prompt = typeof body['prompt'] === 'string' ? body['prompt'] : '';
  const messages = kind === 'chat' ? readMessages(body) : prompt === '' ? [] : [{ role: 'user', content: prompt }];
  const piece = kind === 'chat' ? (content: string): Body => ({ message: { role: 'assistant', content } }) : (response: string): Body => ({ response });
  const keepAlive = keepAliveMs(body['keep_alive']);
  const done = (reason: string): Promise<void> => sendJson(exchange, { model: name, created_at: new Date().toISOString(), ...piece(''), done: true, done_reason: reason });
  if (messages.length === 0 && keepAlive === 0) {
    state.runners.delete(model.name);
    return done('unload');
  }
  const options = typeof body['options'] === 'object' && body['options'] !== null ? (body['options'] as Body) : {};
  checkOptions(options);
  checkAbilities(model, body);
  await load(state, exchange, model, { keepAlive, contextLength: options['num_ctx'] });
  if (messages.length === 0) return done('load');
  const asked = options['num_predict'] as number | undefined;
  const tokens = generate(state, exchange, messages, { model: model.name, maxTokens: asked === undefined || asked < 0 ? Infinity : asked });
  await (body['stream'] === false ? sendWhole : streamLines)(exchange, tokens, { model: name, piece, promptTokens: countTokens(messages) });
  if (keepAlive === 0) state.runners.delete(model.name);
}
