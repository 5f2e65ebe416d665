import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { newId } from '../../../src/shared/ids.ts';
import { ask, collect, createChatWorld, never, principalOf, type ChatWorld } from '../../support/chat-world.ts';

const anna = principalOf('anna');
let world: ChatWorld;
beforeAll(async () => {
  world = await createChatWorld();
});
afterAll(async () => {
  await world.close();
});

const exportJson = async (sessionId: string): Promise<string> => (await collect((await world.chat.export(sessionId, 'json', anna, never)).chunks)).join('');
const bring = (value: unknown) => world.chat.import(typeof value === 'string' ? value : JSON.stringify(value), anna, never);
const messagesOf = async (sessionId: string) => (await world.chat.messages(sessionId, { limit: 100 }, anna)).items;

type Exported = { session: Record<string, unknown>; messages: Record<string, unknown>[] };

/** Without what is new at every import, and with places instead of ids. */
function comparable(text: string): unknown {
  const { session, messages } = JSON.parse(text) as Exported;
  const places = new Map(messages.map(({ message_id: id }, index) => [id, index]));
  const { session_id: _id, updated_at: _at, ...rest } = session;
  return { session: rest, messages: messages.map(({ message_id: id, parent_id: parent, ...message }) => ({ ...message, place: places.get(id), parent: places.get(parent) ?? null })) };
}

describe('an import', () => {
  it('of our own export makes the same session again, with its branches, figures and failures', async () => {
    const session = await world.chat.createSession({ title: 'Tide "tables"', deploymentIds: [world.deployment.view.id], systemPrompt: 'Be brief.', parameters: { topP: 0.9, stop: ['x'], responseFormat: { type: 'json_schema', jsonSchema: { type: 'object' } } } }, anna, never);
    const { answer } = await ask(world, { sessionId: session.id, message: 'When? 🙂', parameters: { seed: 4 } }, anna);
    world.server.script({ refuse: { status: 400, body: { error: { message: 'no' } } } });
    const again = await world.chat.regenerate(answer.id, undefined, anna, never);
    await world.chat.waitForEnd(again.answers[0]!.id, anna, never);
    const edited = await world.chat.edit(answer.parentId!, 'Where?', anna, never);
    await world.chat.waitForEnd(edited.answers[0]!.id, anna, never);
    const before = await exportJson(session.id);
    const { sessions, skippedCount } = await bring(before);
    expect([sessions.length, skippedCount, sessions[0]!.messageCount]).toEqual([1, 0, 5]);
    expect(sessions[0]!.id).not.toBe(session.id);
    expect(comparable(await exportJson(sessions[0]!.id))).toEqual(comparable(before));
  });

  it("can be talked in like any session, and belongs to the importer", async () => {
    const { sessions } = await bring(await exportJson((await ask(world, { deploymentIds: [world.deployment.view.id], message: 'Hi' }, anna)).sessionId));
    const { answer } = await ask(world, { sessionId: sessions[0]!.id, message: 'More' }, anna);
    expect(answer).toMatchObject({ status: 'completed', content: 'Hello world' });
    expect(await world.chat.findSession(sessions[0]!.id, principalOf('somebody else'))).toBeNull();
  });

  it("of Open WebUI's list keeps titles, branches, times and the system prompt", async () => {
    const messages = {
      b: { id: 'b', parentId: 'a', role: 'assistant', content: 'One', model: 'llama3:8b', done: true, timestamp: 1_700_000_002 },
      a: { id: 'a', parentId: null, childrenIds: ['b', 'c'], role: 'user', content: 'Count', timestamp: 1_700_000_001 },
      c: { id: 'c', parentId: 'a', role: 'assistant', content: 'Eins', done: false, timestamp: 1_700_000_003 },
    };
    const { sessions, skippedCount } = await bring([{ id: 'x', title: 'Counting', chat: { title: 'Counting', params: { system: 'Be a clerk.' }, history: { currentId: 'b', messages } }, meta: { tags: [] } }, { title: 'Empty', chat: { history: { messages: {} } } }]);
    expect([sessions.length, skippedCount]).toEqual([1, 1]);
    expect(sessions[0]).toMatchObject({ title: 'Counting', systemPrompt: 'Be a clerk.', owner: 'anna' });
    const rows = await messagesOf(sessions[0]!.id);
    expect(rows.map(({ content, status, modelId }) => [content, status, modelId])).toEqual([['Count', 'completed', null], ['One', 'completed', null], ['Eins', 'interrupted', null]]);
    expect(rows.map(({ parentId }) => parentId)).toEqual([null, rows[0]!.id, rows[0]!.id]);
    expect(rows[0]!.createdAt).toEqual(new Date(1_700_000_001_000));
  });

  it("of ChatGPT's conversations.json leaves tools and hidden messages out without losing what hangs below them", async () => {
    const text = (role: string, part: string, time: number, metadata = {}) => ({ author: { role }, create_time: time, content: { content_type: 'text', parts: [part] }, metadata });
    const mapping = {
      root: { id: 'root', message: null, parent: null, children: ['s'] },
      s: { id: 's', message: text('system', '', 1), parent: 'root', children: ['u'] },
      u: { id: 'u', message: text('user', 'Hello', 2), parent: 's', children: ['t'] },
      t: { id: 't', message: text('tool', 'result', 3), parent: 'u', children: ['a'] },
      a: { id: 'a', message: text('assistant', 'Good day', 4), parent: 't', children: ['h'] },
      h: { id: 'h', message: text('user', 'profile', 5, { is_visually_hidden_from_conversation: true }), parent: 'a', children: [] },
    };
    const { sessions } = await bring([{ title: 'Greeting', create_time: 1_700_000_000.5, mapping, current_node: 'a' }]);
    const rows = await messagesOf(sessions[0]!.id);
    expect(rows.map(({ role, content }) => [role, content])).toEqual([['user', 'Hello'], ['assistant', 'Good day']]);
    expect(rows[1]!.parentId).toBe(rows[0]!.id);
    expect(sessions[0]!.createdAt).toEqual(new Date(1_700_000_000_500));
  });

  it.each([
    ['no JSON', '{"format":'],
    ['something else', '{"a":1}'],
    ['a newer version', JSON.stringify({ format: 'llm-manager.chat', version: 2, session: { title: 'x' }, messages: [] })],
    ['a wrong field', JSON.stringify({ format: 'llm-manager.chat', version: 1, session: { title: 7 }, messages: [] })],
  ])('is refused as a whole for %s', async (_name, content) => {
    const before = (await world.chat.listSessions({}, { limit: 1 }, anna)).total;
    await expect(bring(content)).rejects.toMatchObject({ code: 'VALIDATION_FAILED' });
    expect((await world.chat.listSessions({}, { limit: 1 }, anna)).total).toBe(before);
  });

  it('takes what no database holds, circles of parents and deployments of elsewhere', async () => {
    const row = (id: string, parent: string | null) => ({ message_id: id, parent_id: parent, role: 'assistant', content: `nul \0 half \ud83d ${id}`, deployment_id: newId(), model_id: 'x'.repeat(10), status: 'streaming', created_at: '2026-01-01T00:00:00Z' });
    const { sessions } = await bring(JSON.stringify({ format: 'llm-manager.chat', version: 1, session: { title: 'a\0b', deployment_ids: [newId(), 'x'], parameters: { temperature: 99, top_k: 3, __proto__: { x: 1 } } }, messages: [row('1', '2'), row('2', '1'), row('3', 'gone')] }));
    expect(sessions[0]).toMatchObject({ messageCount: 3, deploymentIds: [], parameters: { topK: 3 } });
    const rows = await messagesOf(sessions[0]!.id);
    expect(rows.every(({ status, deploymentId, modelId }) => status === 'interrupted' && deploymentId === null && modelId === null)).toBe(true);
    expect(rows.filter(({ parentId }) => parentId === null)).toHaveLength(2);
  });
});
