import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createStreamingHttp, type StreamingHttpClient } from '../../src/infrastructure/http/streaming-http.ts';
import { StopReason } from '../../src/shared/abort.ts';
import { createGate } from '../../src/shared/async.ts';
import { PushStream } from '../../src/shared/push-stream.ts';
import type { StreamingResponse } from '../../src/shared/streaming-http.ts';
import { eventually } from '../support/eventually.ts';

const never = new AbortController().signal;

describe('the answer of an inference server', () => {
  let client: StreamingHttpClient;
  let answer: (res: ServerResponse) => void;
  let connections: number;
  let closed: number;
  const server = createServer((_req, res) => {
    res.once('close', () => (closed += 1));
    answer(res);
  });
  server.on('connection', () => (connections += 1));

  beforeEach(async () => {
    [connections, closed] = [0, 0];
    client = createStreamingHttp();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  afterEach(async () => {
    await client.close();
    await new Promise((resolve) => server.close(resolve));
  });

  async function ask(signal = never): Promise<StreamingResponse> {
    const { port } = server.address() as AddressInfo;
    return await client.request({ method: 'POST', url: `http://127.0.0.1:${port}/`, headers: {}, body: '{}' }, signal);
  }

  async function textOf({ body }: StreamingResponse, signal = never): Promise<string> {
    let text = '';
    await PushStream.of(body).each((chunk) => void (text += Buffer.from(chunk).toString()), signal);
    return text;
  }

  it('comes whole, whether it is there before its reader or after, and leaves its connection for later requests', async () => {
    answer = (res) => void res.end('all at once');
    const first = await ask();
    await eventually('the answer has ended', () => closed === 1);
    expect(await textOf(first)).toBe('all at once');
    answer = (res) => {
      res.write('piece ');
      setImmediate(() => res.end('by piece'));
    };
    for (let count = 0; count < 6; count += 1) expect(await textOf(await ask())).toBe('piece by piece');
    // The client makes a second one before it knows that the first is free.
    expect(connections).toBeLessThanOrEqual(2);
  });

  it('is taken from the connection no faster than its reader takes it', async () => {
    const total = 64 * 1024 * 1024;
    let sent = 0;
    answer = (res) => {
      const chunk = Buffer.alloc(64 * 1024, 'x');
      const more = (): void => {
        while (sent < total) {
          sent += chunk.length;
          if (!res.write(chunk)) return void res.once('drain', more);
        }
        res.end();
      };
      more();
    };
    const room = createGate();
    let taken = 0;
    const reading = PushStream.of((await ask()).body).each((chunk) => {
      taken += chunk.length;
      return taken === chunk.length ? room.opened : undefined;
    }, never);
    let before = -1;
    await eventually('the server is held up', () => {
      const isHeld = sent === before && taken > 0;
      before = sent;
      return isHeld;
    });
    expect(sent).toBeLessThan(total);
    room.open();
    await reading;
    expect(taken).toBe(total);
  });

  it("rejects with its reader's own fault, and closes the connection then", async () => {
    answer = (res) => void res.write('a');
    const fault = new Error('cannot read it');
    await expect(PushStream.of((await ask()).body).each(() => {
      throw fault;
    }, never)).rejects.toBe(fault);
    await eventually('the connection is closed', () => closed === 1);
  });

  it('ends quietly when its reader has enough, and with the reason when the request is stopped', async () => {
    answer = (res) => void res.write('a');
    const enough = new AbortController();
    const response = await ask();
    await PushStream.of(response.body).each(() => {
      enough.abort();
      return undefined;
    }, enough.signal);
    await eventually('the connection is closed', () => closed === 1);
    const stop = new AbortController();
    const reading = textOf(await ask(stop.signal));
    stop.abort(new StopReason('stopped'));
    await expect(reading).rejects.toMatchObject({ why: 'stopped' });
    await eventually('the second connection is closed', () => closed === 2);
  });

  it('tells a connection that broke after what came before it', async () => {
    answer = (res) => {
      res.write('a');
      setImmediate(() => res.destroy());
    };
    let text = '';
    const reading = PushStream.of((await ask()).body).each((chunk) => void (text += Buffer.from(chunk).toString()), never);
    await expect(reading).rejects.toMatchObject({ code: 'NETWORK_FAILED' });
    expect(text).toBe('a');
  });
});
