import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { createGate } from '../../../src/shared/async.ts';
import { startChatFront, type ChatFront } from '../../support/chat-front.ts';
import { never } from '../../support/chat-world.ts';
import { eventually } from '../../support/eventually.ts';
import { overSocket, Pieces, socketClient } from '../../support/graphql-readers.ts';
import { resumesAfterEachOf } from '../../support/resume.suite.ts';

let front: ChatFront;
let key: string;
beforeAll(async () => {
  front = await startChatFront();
  key = front.keyOf('anna');
});
afterAll(async () => front.close());
afterEach(() => {
  front.world.server.reset();
});

async function send(message: string, deploymentId: string): Promise<string> {
  const { answers } = await front.world.chat.send({ deploymentIds: [deploymentId], message }, front.principal(key), never);
  return answers[0]!.id;
}

describe('a reader over GraphQL that loses its connection after any piece', () => {
  resumesAfterEachOf(20, () => ({ front, key }));
});

describe('many chats at once', () => {
  it('50 on three deployments are each whole and in order for the one socket that follows them', async () => {
    const three = [front.world.deployment, front.world.addDeployment(), front.world.addDeployment()];
    const tokensOf = (text: string) => Array.from({ length: 10 }, (_, place) => `${text}:${place},`);
    const all = createGate();
    front.world.server.scriptBy(({ body }) => ({ tokens: tokensOf((body['messages'] as { content: string }[]).at(-1)!.content), tokenMs: 10, holdBefore: { index: 1, gate: all } }));
    const client = socketClient(front, key);
    const read = async (id: string) => {
      const pieces = new Pieces();
      for await (const event of overSocket(client, id, -1)) pieces.take(event);
      return pieces.text;
    };
    const reads: Promise<string>[] = [];
    // Each is asked for by itself, so that no more is asked of the database at once than it has connections for.
    for (let index = 0; index < 50; index += 1) reads.push(read(await send(`chat ${index}`, three[index % 3]!.view.id)));
    // None has ended before all have begun.
    all.open();
    const texts = await Promise.all(reads);
    await client.dispose();
    expect(texts).toEqual(texts.map((_, index) => tokensOf(`chat ${index}`).join('')));
    // Each deployment had its share.
    const asked = front.world.server.requests.map(({ body }) => body['model']);
    expect(new Set(asked)).toEqual(new Set(three.map(({ view }) => view.name)));
  });

  it('the slot of a stopped answer is free for the one that waits for it', async () => {
    const { server, deployment } = front.world;
    const stays = createGate();
    server.limitSlots(1);
    server.script({ tokens: ['held', ' lost'], holdBefore: { index: 1, gate: stays } }, { tokens: ['next'] });
    const first = await send('first', deployment.view.id);
    await eventually('the first answer to have text', async () => (await front.world.tokenStream.pieces(first))?.length === 1);
    const second = await send('second', deployment.view.id);
    await eventually('the second one to be asked for', () => server.requests.length === 2);
    expect(server.served).toBe(1);
    expect(await front.world.chat.stop(first, front.principal(key), never)).toMatchObject({ status: 'stopped', content: 'held' });
    // There is one slot: without the first one's it would wait for good.
    expect(await front.world.chat.waitForEnd(second, front.principal(key), never)).toMatchObject({ status: 'completed', content: 'next' });
    expect(server.served).toBe(2);
    stays.open();
  });
});
