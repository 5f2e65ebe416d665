import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { sleep } from '../../../src/shared/async.ts';
import { eventually } from '../../support/eventually.ts';
import { openJsonSocket } from '../../support/json-socket.ts';
import { startRestBench, type RestBench } from '../../support/rest-bench.ts';
import { streamAnswersIn, type StreamedChat } from '../../support/streamed-chat.ts';

let bench: RestBench;
let chat: StreamedChat;
let sockets: Socket[];

const session = '01900000-0000-7000-8003-000000000000';
const eachKind = 20;
/** Kept whole for each stalled reader they would be far beyond what is allowed to be held. */
const pieces = 3000;
/** So that all of them together are more than the kernel keeps for one connection. */
const pieceText = 'x'.repeat(2500);
const bytesMax = 60 * 1024 * 1024;

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

function heldBytes(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** A client that sends its request, waits for the first bytes of the answer and then stops reading. */
async function stallAfter(request: string): Promise<Socket> {
  const socket = connect(bench.port, '127.0.0.1');
  sockets.push(socket);
  socket.on('error', () => {});
  socket.write(request);
  await new Promise<void>((resolve) => socket.once('data', () => resolve()));
  socket.pause();
  return socket;
}

/** A client's text frame; a mask of zeros leaves the text as it is. */
function frame(message: object): string {
  const text = JSON.stringify(message);
  if (text.length > 125) throw new Error('too long for the short form');
  return `\x81${String.fromCharCode(0x80 | text.length)}\0\0\0\0${text}`;
}

async function stallOnSocket(messageId: string): Promise<Socket> {
  const head = ['GET /ws/chat/stream HTTP/1.1', 'host: 127.0.0.1', `authorization: Bearer ${bench.key}`, 'connection: upgrade', 'upgrade: websocket', 'sec-websocket-version: 13', `sec-websocket-key: ${randomBytes(16).toString('base64')}`];
  const socket = await stallAfter(`${head.join('\r\n')}\r\n\r\n`);
  socket.write(frame({ type: 'resume', message_id: messageId }), 'latin1');
  return socket;
}

async function stallOnEvents(messageId: string): Promise<Socket> {
  const body = JSON.stringify({ session_id: session, message: 'hi', stream: true });
  const head = ['POST /api/chat/send HTTP/1.1', 'host: 127.0.0.1', `x-api-key: ${bench.key}`, 'content-type: application/json', `content-length: ${body.length}`, `last-event-id: ${messageId}:-1`];
  return await stallAfter(`${head.join('\r\n')}\r\n\r\n${body}`);
}

/** About 1,000 pieces a second. */
async function writeAll(messageId: string): Promise<void> {
  for (let index = 0; index < pieces; index += 10) {
    for (let more = 0; more < 10; more += 1) await chat.write(messageId, pieceText);
    await sleep(10);
  }
  await chat.end(messageId);
}

beforeEach(() => {
  sockets = [];
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await bench.close();
});

async function begin(stalledMsMax: number): Promise<string> {
  bench = await startRestBench({ stalledMsMax });
  chat = streamAnswersIn(bench.world);
  const starter = await openJsonSocket(`${bench.wsUrl}/ws/chat/stream`, { authorization: `Bearer ${bench.key}` });
  starter.send({ type: 'send', request_id: 'r', session_id: session, message: 'hi' });
  await starter.next();
  await starter.end();
  return chat.answers[0]!.id;
}

describe('readers that stop reading', () => {
  it('cost bounded memory, hold up nobody else, and find every piece when they read on', async () => {
    const id = await begin(600_000);
    const before = heldBytes();
    const stalled = [];
    for (let index = 0; index < eachKind; index += 1) stalled.push(await stallOnSocket(id), await stallOnEvents(id));
    const quick = await openJsonSocket(`${bench.wsUrl}/ws/chat/stream`, { authorization: `Bearer ${bench.key}` });
    quick.send({ type: 'resume', message_id: id });
    const writing = writeAll(id);
    const indexes: unknown[] = [];
    for (let message = await quick.next(); message.type !== 'end'; message = await quick.next()) {
      if (message.type === 'token') indexes.push(message['index']);
      if (indexes.length % 1000 === 0) expect((await bench.client.call('GET', '/api/models/categories')).status).toBe(200);
    }
    await writing;
    expect(indexes).toEqual(Array.from({ length: pieces }, (_, index) => index));
    // They do stand still: of the answer only a part has been pulled for them.
    expect(chat.pulled.filter((count) => count < pieces)).toHaveLength(1 + stalled.length);
    expect(heldBytes() - before).toBeLessThan(bytesMax);
    for (const socket of stalled.slice(0, 2)) {
      let tail = '';
      socket.on('data', (data: Buffer) => (tail = (tail + data.toString('latin1')).slice(-2000)));
      socket.resume();
      await eventually('the reader that reads on comes to the end', () => tail.includes('"type":"end"') && tail.includes(`"index":${pieces - 1}`), 20_000);
    }
    await quick.end();
  }, 60_000);

  it('are cut when they take nothing for too long, and may come back for the rest', async () => {
    const id = await begin(300);
    const stalled = [await stallOnSocket(id), await stallOnEvents(id)];
    const closed = stalled.map((socket) => new Promise<void>((resolve) => socket.once('close', () => resolve())));
    const writing = writeAll(id);
    await writing;
    for (const socket of stalled) socket.resume();
    await Promise.all(closed);
    const again = await openJsonSocket(`${bench.wsUrl}/ws/chat/stream`, { authorization: `Bearer ${bench.key}` });
    again.send({ type: 'resume', message_id: id, after: pieces - 2 });
    expect(await again.until(({ type }) => type === 'end')).toMatchObject([{ type: 'start' }, { type: 'token', index: pieces - 1 }, { type: 'end' }]);
    await again.end();
  }, 60_000);
});
