/**
 * A model server in miniature, to be supervised, hung, flooded and killed by tests: `small-engine.ts <mode> <file>`.
 * It does not end when its parent does. While `<file>` exists it accepts connections and never answers. `refuse-once`
 * refuses to start when `<file>` is not there yet, and makes it.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const [mode = 'serve', hangFile = ''] = process.argv.slice(2);

const isFirst = mode === 'refuse-once' && !existsSync(hangFile);
if (isFirst) writeFileSync(hangFile, '');
if (mode === 'refuse' || isFirst) {
  process.stderr.write('error: cannot load the weights\nerror: giving up\n');
  process.exit(3);
}

let answering = 0;
let isDraining = false;
const endWhenIdle = (): void => {
  if (isDraining && answering === 0) process.exit(0);
};
const server = createServer((request, response) => {
  if (hangFile !== '' && existsSync(hangFile)) return;
  if (request.url === '/crash') process.exit(9);
  if (request.url === '/end') process.exit(0);
  if (request.url === '/slow') {
    answering += 1;
    response.write('begun ');
    process.once('SIGUSR2', () => {
      response.end('done');
      answering -= 1;
      endWhenIdle();
    });
    return;
  }
  if (mode === 'mute' && request.method === 'POST') {
    response.writeHead(500).end('{}');
    return;
  }
  const models = { object: 'list', data: [{ id: 'small', object: 'model' }] };
  response.setHeader('content-type', 'application/json').end(JSON.stringify(request.url === '/v1/models' ? models : { status: 'ok' }));
});
process.on('SIGTERM', () => {
  isDraining = true;
  process.stderr.write('info: draining\n');
  endWhenIdle();
});
process.on('disconnect', () => undefined);

if (mode === 'flood') {
  const line = `${'a line of a flood '.repeat(5)}\n`;
  let written = 0;
  const pour = (): void => {
    process.stdout.write(line.repeat(5_000), () => {
      written += 5_000;
      if (written < 300_000) setImmediate(pour);
      else process.stdout.write('the flood is over\n');
    });
  };
  pour();
}
if (mode === 'strange') process.stdout.write(`one \u001B[31mred\u001B[0m \u001B]0;title\u0007 c1 \u009B2J bidi \u202E end\n${'x'.repeat(20_000)}\nWARN: careful\n2026-01-01T00:00:00.000Z error in its own words\n`);

if (mode !== 'never-ready') {
  server.listen(0, '127.0.0.1', () => {
    process.stdout.write('info: ready\n');
    process.send?.({ port: (server.address() as AddressInfo).port });
  });
} else {
  process.stdout.write('info: loading for ever\n');
  setInterval(() => undefined, 60_000);
}
