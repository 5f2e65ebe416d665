/**
 * Speaks llama-server's protocol as far as the runtime uses it, for machines without the real program: options, the
 * key from its file, `/health` while loading, slots, a stream a token at a time, the end at SIGTERM without a drain.
 * Seen on the real one: version 0.5.0, built from the source in node-llama-cpp.
 */
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';

if (process.argv.includes('--version')) {
  process.stderr.write('version: 0.5.0 (build 1, commit d0b1e00)\nbuilt with a double\n');
  process.exit(0);
}

const string = { type: 'string' } as const;
const flag = { type: 'boolean' } as const;
const { values } = parseArgs({
  options: {
    model: string, alias: string, host: string, port: string, 'api-key-file': string, 'ctx-size': string, parallel: string, threads: string, 'n-gpu-layers': string,
    jinja: flag, slots: flag, 'no-webui': flag, 'batch-size': string,
  },
});

if (readFileSync(values.model ?? '').subarray(0, 4).toString('latin1') !== 'GGUF') {
  process.stderr.write('llama_model_load: error loading model: invalid magic\n');
  process.exit(1);
}

const keyFile = values['api-key-file'];
const key = keyFile === undefined ? process.env['LLAMA_API_KEY'] : readFileSync(keyFile, 'utf8').trim();
const parallel = Number(values.parallel);
const slots = Array.from({ length: parallel }, (_, id) => ({ id, n_ctx: Number(values['ctx-size']) / parallel, is_processing: false }));
const words = ['Once', ' upon', ' a', ' time', '.'];

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(body));
}

async function complete(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = JSON.parse(await text(request)) as { max_tokens?: number };
  const slot = slots.find((candidate) => !candidate.is_processing);
  if (!slot) {
    json(response, 503, { error: { code: 503, message: 'no slot', type: 'unavailable_error' } });
    return;
  }
  slot.is_processing = true;
  try {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const count = body.max_tokens ?? words.length;
    for (let index = 0; index < count && !response.destroyed; index += 1) {
      response.write(`data: ${JSON.stringify({ object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content: words[index % words.length] }, finish_reason: null }] })}\n\n`);
      await delay(10);
    }
    response.end(`data: ${JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })}\n\ndata: [DONE]\n\n`);
  } finally {
    slot.is_processing = false;
  }
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { url: path } = request;
  if (path === '/health') json(response, 200, { status: 'ok' });
  else if (path === '/v1/models') json(response, 200, { object: 'list', data: [{ id: values.alias, object: 'model', owned_by: 'llamacpp' }] });
  else if (request.headers.authorization !== `Bearer ${key}`) json(response, 401, { error: { code: 401, message: 'Invalid API Key', type: 'authentication_error' } });
  else if (path === '/slots') json(response, 200, slots);
  else if (path === '/v1/chat/completions') await complete(request, response);
  else json(response, 404, { error: { code: 404, message: 'File Not Found', type: 'not_found_error' } });
}

const server = createServer((request, response) => void answer(request, response));
server.on('error', () => {
  process.stderr.write(`couldn't bind HTTP server socket, hostname: ${values.host}, port: ${values.port}\n`);
  process.exit(1);
});
process.on('SIGTERM', () => process.exit(0));
server.listen(Number(values.port), values.host, () => process.stderr.write('main: server is listening\n'));
