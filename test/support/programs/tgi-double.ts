/**
 * Speaks the protocol of Text Generation Inference as far as the runtime uses it: options of its launcher, a folder of
 * safetensors, `/health` without a key, chat with one. Read in its source (router/src/server.rs, launcher/src/main.rs);
 * never run here, as it needs a graphics card.
 */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';

const string = { type: 'string' } as const;
const { values } = parseArgs({
  options: {
    'model-id': string, hostname: string, port: string, 'max-total-tokens': string, 'max-input-tokens': string, 'max-batch-size': string, 'usage-stats': string, dtype: string,
  },
});
const folder = values['model-id'] ?? '';
const names = readdirSync(folder);
const weights = names.filter((name) => name.endsWith('.safetensors'));
if (weights.length === 0 || !names.includes('config.json')) {
  process.stderr.write(`No safetensors weights found for model ${folder}\n`);
  process.exit(1);
}
JSON.parse(readFileSync(`${folder}/config.json`, 'utf8'));
for (const name of weights) readFileSync(`${folder}/${name}`);
// As the launcher does: its shards' sockets, the Hub's cache.
mkdirSync('/tmp/text-generation-server');
mkdirSync(process.env['HF_HOME'] ?? '/data', { recursive: true });

const key = process.env['API_KEY'];
const totalTokens = Number(values['max-total-tokens']);
const words = ['Deep', ' learning', ' is', ' fun'];

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

type Chat = { messages: { content: string }[]; max_tokens?: number; temperature?: number; top_p?: number; stream?: boolean; stream_options?: { include_usage?: boolean } };

async function complete(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = JSON.parse(await text(request)) as Chat;
  const promptTokens = body.messages.reduce((sum, { content }) => sum + content.split(/\s+/).length, 0);
  if (promptTokens >= Number(values['max-input-tokens'])) {
    const message = `\`inputs\` must have less than ${values['max-input-tokens']} tokens. Given: ${promptTokens}`;
    json(response, 422, { error: `Input validation error: ${message}`, error_type: 'validation' });
    return;
  }
  if (body.top_p !== undefined && (body.top_p <= 0 || body.top_p >= 1)) {
    json(response, 422, { error: 'Input validation error: `top_p` must be > 0.0 and < 1.0', error_type: 'validation' });
    return;
  }
  const said = words.slice(0, body.max_tokens ?? totalTokens - promptTokens);
  const finish = said.length < words.length ? 'length' : 'stop';
  const usage = { prompt_tokens: promptTokens, completion_tokens: said.length, total_tokens: promptTokens + said.length };
  const head = { id: '', created: Math.floor(Date.now() / 1000), model: folder, system_fingerprint: '3.3.5-sha-0000000' };
  if (body.stream !== true) {
    json(response, 200, { object: 'chat.completion', ...head, choices: [{ index: 0, message: { role: 'assistant', content: said.join('') }, logprobs: null, finish_reason: finish }], usage });
    return;
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const send = (value: object): void => void response.write(`data: ${JSON.stringify({ object: 'chat.completion.chunk', ...head, ...value })}\n\n`);
  for (const [index, content] of said.entries()) {
    const isLast = index === said.length - 1;
    send({ choices: [{ index: 0, delta: { role: 'assistant', content }, logprobs: null, finish_reason: isLast ? finish : null }], usage: null });
  }
  if (body.stream_options?.include_usage === true) send({ choices: [], usage });
  response.end('data: [DONE]\n\n');
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { url: path } = request;
  if (path === '/health' || path === '/ping') response.writeHead(200).end();
  else if (path === '/info') json(response, 200, { model_id: folder, max_total_tokens: totalTokens, max_input_tokens: Number(values['max-input-tokens']) });
  else if (path !== '/v1/chat/completions') response.writeHead(404).end();
  else if (key !== undefined && request.headers.authorization?.toLowerCase() !== `bearer ${key}`.toLowerCase()) response.writeHead(401).end();
  else await complete(request, response);
}

process.on('SIGTERM', () => process.exit(0));
createServer((request, response) => void answer(request, response)).listen(Number(values.port), values.hostname, () => process.stdout.write('{"level":"INFO","fields":{"message":"Connected"},"target":"text_generation_router::server"}\n'));
