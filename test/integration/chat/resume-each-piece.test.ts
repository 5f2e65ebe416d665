import { afterAll, beforeAll, describe } from '@jest/globals';
import { startChatFront, type ChatFront } from '../../support/chat-front.ts';
import { resumesAfterEachOf } from '../../support/resume.suite.ts';

let front: ChatFront;
let key: string;
beforeAll(async () => {
  front = await startChatFront();
  key = front.keyOf('anna');
});
afterAll(async () => front.close());

describe('a reader over GraphQL that loses its connection after each of 200 pieces', () => {
  resumesAfterEachOf(200, () => ({ front, key }));
});
