/** The `/v1` side of an Ollama server. */
import type { Exchange } from '../hub/http-double.ts';
import { createBodyWriter, sendJson } from '../hub/send.ts';
import type { Token } from './daemon-chat.ts';
import { countTokens, generate, load, readMessages } from './daemon-chat.ts';
import type { Body, DaemonModel, DaemonState } from './daemon-models.ts';
import { DaemonError, findModel, keepAliveMs, readJson, readName } from './daemon-models.ts';

const TYPES: Record<number, string> = { 400: 'invalid_request_error', 404: 'not_found_error' };

export async function sendOpenAiError(exchange: Exchange, { status, message }: DaemonError): Promise<void> {
  await sendJson(exchange, { error: { message, type: TYPES[status] ?? 'api_error', param: null, code: null } }, { status });
}

function describeModel({ name, modifiedAt }: DaemonModel): Body {
  return { id: name, object: 'model', created: Math.floor(Date.parse(modifiedAt) / 1000), owned_by: 'library' };
}

export async function listModels({ models }: DaemonState, exchange: Exchange): Promise<void> {
  await sendJson(exchange, { object: 'list', data: [...models.values()].map(describeModel) });
}

export async function getModel(state: DaemonState, exchange: Exchange, name: string): Promise<void> {
  await sendJson(exchange, describeModel(findModel(state, decodeURIComponent(name))));
}

type Call = { exchange: Exchange; model: string; promptTokens: number; withUsage: boolean };

const usageOf = (prompt: number, completion: number): Body => ({ prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion });
const envelope = (model: string, object: string): Body => ({ id: 'chatcmpl-190', object, created: Math.floor(Date.now() / 1000), model, system_fingerprint: 'fp_ollama' });

async function stream({ exchange, model, promptTokens, withUsage }: Call, tokens: AsyncGenerator<Token>): Promise<void> {
  exchange.entry.status = 200;
  exchange.res.writeHead(200, { 'content-type': 'text/event-stream' });
  const writer = createBodyWriter(exchange);
  const event = (data: string): Promise<boolean> => writer.write(Buffer.from(`data: ${data}\n\n`));
  const chunk = (choices: Body[], extra: Body = {}): Promise<boolean> => event(JSON.stringify({ ...envelope(model, 'chat.completion.chunk'), choices, ...extra }));
  const choice = (content: string, finish: string | null): Body => ({ index: 0, delta: { role: 'assistant', content }, finish_reason: finish });
  let count = 0;
  for await (const token of tokens) {
    if ('error' in token) {
      // An error in mid-stream shows as an empty delta: no finish, no [DONE].
      await chunk([choice('', null)]);
    } else if ('end' in token) {
      await chunk([choice('', token.end)]);
      if (withUsage) await chunk([], { usage: usageOf(promptTokens, count) });
      await event('[DONE]');
    } else {
      count += 1;
      if (!(await chunk([choice(token.text, null)]))) return;
    }
  }
  if (!exchange.signal.aborted) writer.end();
}

async function whole({ exchange, model, promptTokens }: Call, tokens: AsyncGenerator<Token>): Promise<void> {
  const texts: string[] = [];
  for await (const token of tokens) {
    if ('error' in token) throw new DaemonError(500, token.error);
    if ('text' in token) texts.push(token.text);
    else {
      const choices = [{ index: 0, message: { role: 'assistant', content: texts.join('') }, finish_reason: token.end }];
      await sendJson(exchange, { ...envelope(model, 'chat.completion'), choices, usage: usageOf(promptTokens, texts.length) });
    }
  }
}

export async function completeChat(state: DaemonState, exchange: Exchange): Promise<void> {
  const body = await readJson(exchange);
  const model = findModel(state, readName(body));
  const messages = readMessages(body);
  if (messages.length === 0) throw new DaemonError(400, "[] is too short - 'messages'");
  await load(state, exchange, model, { keepAlive: keepAliveMs(undefined) });
  const asked = body['max_completion_tokens'] ?? body['max_tokens'];
  const tokens = generate(state, exchange, messages, { model: model.name, maxTokens: typeof asked === 'number' ? asked : Infinity });
  const options = body['stream_options'] as { include_usage?: boolean } | undefined;
  const call = { exchange, model: String(body['model']), promptTokens: countTokens(messages), withUsage: options?.include_usage === true };
  await (body['stream'] === true ? stream : whole)(call, tokens);
}
