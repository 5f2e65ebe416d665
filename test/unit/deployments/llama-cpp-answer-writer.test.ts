import { describe, expect, it } from '@jest/globals';
import type { ServerResponse } from 'node:http';
import { createAnswerWriter } from '../../../src/domains/deployments/runtimes/llama-cpp/child/answer-writer.ts';
import { RequestError } from '../../../src/domains/deployments/runtimes/llama-cpp/child/request-error.ts';
import { parseChatRequest } from '../../../src/domains/deployments/runtimes/llama-cpp/child/requests.ts';

/** A socket whose reader takes nothing: a real one would need minutes of tokens to fill up. */
function createUnreadResponse(): { response: ServerResponse; written: string[] } {
  const written: string[] = [];
  const fake = {
    headersSent: false,
    get writableLength() {
      return written.reduce((sum, text) => sum + text.length, 0);
    },
    writeHead: () => void (fake.headersSent = true),
    flushHeaders: () => undefined,
    write: (text: string) => void written.push(text),
    end: () => undefined,
  };
  return { response: fake as unknown as ServerResponse, written };
}

const request = parseChatRequest({ messages: [{ role: 'user', content: 'Hi' }], stream: true });

describe('a streamed answer', () => {
  it('gives up a reader that leaves megabytes unread', () => {
    const { response, written } = createUnreadResponse();
    let tooSlow = 0;
    const writer = createAnswerWriter({ response, request, modelName: 'tiny', onReaderTooSlow: () => tooSlow++ });
    writer.onStart();
    const piece = 'x'.repeat(100_000);
    for (let count = 0; count < 40; count++) writer.onText(piece);
    expect(tooSlow).toBe(0);
    for (let count = 0; count < 5; count++) writer.onText(piece);
    expect(tooSlow).toBeGreaterThan(0);
    expect(written[0]).toContain('"role":"assistant"');
  });

  it('tells of a failure as an event when pieces have been sent', () => {
    const { response, written } = createUnreadResponse();
    const writer = createAnswerWriter({ response, request, modelName: 'tiny', onReaderTooSlow: () => undefined });
    writer.onStart();
    writer.onText('Once');
    writer.fail(new RequestError(503, 'shutting_down', 'The engine stopped.'));
    expect(JSON.parse(written.at(-1)!.replace(/^data: /, ''))).toEqual({ error: { message: 'The engine stopped.', type: 'server_error', param: null, code: 'shutting_down' } });
  });
});
