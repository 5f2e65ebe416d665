import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { collect, createChatWorld, never, principalOf, type ChatWorld } from '../../support/chat-world.ts';

const anna = principalOf('anna');
let world: ChatWorld;
beforeAll(async () => {
  world = await createChatWorld();
});
afterAll(async () => {
  await world.close();
});

const bring = (value: unknown, principal = anna) => world.chat.import(JSON.stringify(value), principal, never);
const messagesOf = async (sessionId: string) => (await world.chat.messages(sessionId, { limit: 100 }, anna)).items;

const row = (id: string, more: object = {}) => ({ message_id: id, parent_id: null, role: 'assistant', content: `text ${id}`, status: 'completed', created_at: '2026-01-01T00:00:00Z', ...more });
const own = (messages: object[], session: object = {}) => ({ format: 'llm-manager.chat', version: 1, session: { title: 'x', ...session }, messages });
const figures = { prompt_tokens: 1, completion_tokens: 1, time_to_first_token_ms: 1, tokens_per_second: 1 };

const openWebUi = { title: 'x', chat: { history: { messages: { a: { parentId: null, role: 'user', content: 'Hello' } } } } };
const said = (role: string, parent: string | null) => ({ parent, message: { author: { role }, content: { content_type: 'text', parts: ['Hello'] } } });
const chatGpt = { title: 'x', mapping: { a: said('user', null) } };

describe('a file that nobody wrote by accident', () => {
  it.each(['json', 'jsonl', 'markdown', 'html', 'text'] as const)('with a message that answers itself makes one that answers none, so that its export as %s ends', async (format) => {
    const { sessions } = await bring(own([row('1', { parent_id: '1' })]));
    expect((await messagesOf(sessions[0]!.id)).map(({ parentId }) => parentId)).toEqual([null]);
    expect((await collect((await world.chat.export(sessions[0]!.id, format, anna, never)).chunks)).join('')).toContain('text 1');
  });

  it('of ChatGPT loses nothing below a circle of what is left out', async () => {
    const { sessions } = await bring([{ title: 'x', mapping: { a: said('tool', 'b'), b: said('tool', 'a'), c: said('user', 'a'), d: said('user', 'gone') } }]);
    expect((await messagesOf(sessions[0]!.id)).map(({ parentId }) => parentId)).toEqual([null, null]);
  });

  it.each([
    ["Open WebUI's list with something else in it", [openWebUi, { foo: 1 }]],
    ["Open WebUI's list with nothing in it", [openWebUi, null]],
    ["ChatGPT's list with something else in it", [chatGpt, { mapping: 5 }]],
    ['a list of both', [openWebUi, chatGpt]],
    ['a year that is none', own([row('1', { created_at: '0000-01-01T00:00:00Z' })])],
    ['a year of five digits in our time zone', own([row('1', { finished_at: '9999-12-31T23:59:59-10:00' })])],
    ['a session of a year that is none', own([row('1')], { created_at: '0000-01-01T00:00:00Z' })],
    ['more tokens than a count holds', own([row('1', { usage: { ...figures, prompt_tokens: 2 ** 31 } })])],
  ])('is refused for %s, with the place of the fault', async (_name, value) => {
    await expect(bring(value)).rejects.toMatchObject({ code: 'VALIDATION_FAILED', details: { fields: [{ field: 'content', message: expect.stringMatching(/^is no export that can be read: \S+: /) }] } });
  });

  it('is refused before it is read when it is made of brackets', async () => {
    const brackets = '['.repeat(3_000_000);
    await expect(world.chat.import(brackets, anna, never)).rejects.toMatchObject({ code: 'VALIDATION_FAILED', details: { fields: [{ field: 'content', message: expect.stringContaining('nested') }] } });
  });

  it('names each deployment once, and only those that the key of its importer may use', async () => {
    const [mine, theirs] = [world.deployment.view.id, world.addDeployment().view.id];
    const file = own([row('1', { deployment_id: mine }), row('2', { deployment_id: theirs })], { deployment_ids: [mine, mine.toUpperCase(), theirs] });
    const { sessions } = await bring(file, { ...anna, allowedDeployments: [mine] });
    expect(sessions[0]!.deploymentIds).toEqual([mine]);
    expect((await messagesOf(sessions[0]!.id)).map(({ deploymentId }) => deploymentId)).toEqual([mine, null]);
  });
});
