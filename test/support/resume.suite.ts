import { expect, it } from '@jest/globals';
import type { ChatFront } from './chat-front.ts';
import { never } from './chat-world.ts';
import { eventually } from './eventually.ts';
import { dropAndResume, transports } from './graphql-readers.ts';

/** One reader for each piece of an answer, dropped after it while the answer is written. */
export function resumesAfterEachOf(count: number, given: () => { front: ChatFront; key: string }): void {
  it.each(Object.entries(transports))('loses and doubles none over %s, and has what is stored', async (_, transport) => {
    const { front, key } = given();
    const { server, chat, deployment } = front.world;
    const tokens = Array.from({ length: count }, (__, index) => `${index} \u{1f600}\n`);
    let newest = -1;
    // Written one by one: a piece leaves the engine when somebody has read the one before it.
    const before = async (index: number) => await eventually(`piece ${index - 1} to be read`, () => index === count || newest >= index - 1, 60_000);
    server.script({ tokens, before });
    const { answers } = await chat.send({ deploymentIds: [deployment.view.id], message: 'count' }, front.principal(key), never);
    const id = answers[0]!.id;
    const onPiece = (index: number): void => void (newest = Math.max(newest, index));
    const texts = await Promise.all(tokens.map(async (__, place) => await dropAndResume(transport, { front, key, id, dropAfter: place + 1, onPiece })));
    expect(await chat.waitForEnd(id, front.principal(key), never)).toMatchObject({ status: 'completed', content: tokens.join('') });
    expect(newest).toBe(count - 1);
    expect(new Set(texts)).toEqual(new Set([tokens.join('')]));
  });
}
