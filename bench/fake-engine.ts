/**
 * An engine in a process of its own that takes no time to think: each token is the moment in which it is written.
 * Prints its port. `messages[0].content` may hold `tokens=N`; without `stream` it answers at once.
 */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

const tokenEveryMs = 10;
/** The same on all processes of a machine, in fractions of a millisecond. */
const nowMs = (): number => performance.timeOrigin + performance.now();
const whole = JSON.stringify({ id: 'x', object: 'chat.completion', created: 1, model: 'fake', choices: [{ index: 0, message: { role: 'assistant', content: 'ok' }, finish_reason: 'stop' }], usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } });

function stream(response: ServerResponse, tokens: number): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  let sent = 0;
  const write = (delta: object, finishReason: string | null): boolean =>
    response.write(`data: ${JSON.stringify({ id: 'chatcmpl-x', object: 'chat.completion.chunk', created: 1, model: 'fake', choices: [{ index: 0, delta, finish_reason: finishReason }] })}\n\n`);
  write({ role: 'assistant', content: '' }, null);
  const timer = setInterval(() => {
    if (sent < tokens) {
      sent += 1;
      write({ content: `${nowMs().toFixed(3)} ` }, null);
      return;
    }
    clearInterval(timer);
    write({}, 'stop');
    response.write(`data: ${JSON.stringify({ choices: [], usage: { prompt_tokens: 1, completion_tokens: tokens, total_tokens: tokens + 1 } })}\n\n`);
    response.end('data: [DONE]\n\n');
  }, tokenEveryMs);
  response.on('close', () => clearInterval(timer));
}

const server = createServer((request, response) => {
  const parts: Buffer[] = [];
  request.on('data', (part: Buffer) => parts.push(part));
  request.on('end', () => {
    if (request.method === 'GET') {
      response.setHeader('content-type', 'application/json').end(JSON.stringify({ object: 'list', data: [{ id: 'fake', object: 'model' }] }));
      return;
    }
    const text = Buffer.concat(parts).toString('utf8');
    if (!text.includes('"stream":true')) response.setHeader('content-type', 'application/json').end(whole);
    else stream(response, Number(/tokens=(\d+)/.exec(text)?.[1] ?? 100));
  });
});
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`));
