import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createGate } from '../../../src/shared/async.ts';
import type { Chat, ChatMessageView, CreateSession, SendMessage } from '../../../src/domains/chat/types.ts';
import { ensureSearchIndex, searchIndexName } from '../../../src/domains/chat/search-index.repository.ts';
import { newId } from '../../../src/shared/ids.ts';
import { ChatMessage } from '../../../src/domains/chat/chat.entity.ts';
import { StateEvent } from '../../../src/shared/persistence/state-event.entity.ts';
import { ask, collect, createChatWorld, follow, never, principalOf, type ChatWorld } from '../../support/chat-world.ts';
import { eventually } from '../../support/eventually.ts';
import { silentLogger } from '../../support/silent-logger.ts';

const anna = principalOf('anna');
const berta = principalOf('berta', 'ADMIN');
let world: ChatWorld;
let chat: Chat;
let deploymentIds: string[];
beforeAll(async () => {
  world = await createChatWorld();
  ({ chat } = world);
  deploymentIds = [world.deployment.view.id];
});
afterAll(async () => {
  await world.close();
});
beforeEach(() => {
  world.server.reset();
});

describe('a session', () => {
  it('keeps what it was made with and what was changed later', async () => {
    const session = await chat.createSession({ title: ' Plans ', deploymentIds, systemPrompt: 'Be kind.', parameters: { temperature: 0.5 } }, anna, never);
    expect(session).toMatchObject({ title: 'Plans', owner: 'anna', systemPrompt: 'Be kind.', parameters: { temperature: 0.5 }, deploymentIds, messageCount: 0 });
    expect(await chat.getSession(session.id.toUpperCase(), anna)).toEqual(session);
    const changed = await chat.updateSession(session.id, { title: 'Other', systemPrompt: '' }, anna);
    expect(changed).toMatchObject({ id: session.id, title: 'Other', systemPrompt: null, parameters: { temperature: 0.5 }, deploymentIds });
  });

  it('takes its title and deployments from the first message when it was given none', async () => {
    const session = await chat.createSession({}, anna, never);
    expect(session).toMatchObject({ title: 'New chat', deploymentIds: [] });
    await ask(world, { sessionId: session.id, deploymentIds, message: '  Tell me\nabout   tides. '.padEnd(200, 'and more ') }, anna);
    const named = await chat.getSession(session.id, anna);
    expect(named.title).toMatch(/^Tell me about tides\. and more .*…$/);
    expect(named.title.length).toBeLessThanOrEqual(80);
    expect(named).toMatchObject({ deploymentIds, messageCount: 2 });
    // Now no deployment need be named.
    expect((await ask(world, { sessionId: session.id, message: 'More' }, anna)).answer.status).toBe('completed');
  });

  it('is deleted with everything in it, after its unfinished answers were stopped', async () => {
    const gate = createGate();
    world.server.script({ tokens: ['a', 'b'], holdBefore: { index: 1, gate } });
    const sent = await chat.send({ deploymentIds, message: 'x' }, anna, never);
    const id = sent.answers[0]!.id;
    const reader = await follow(chat.stream(id, -1, anna, never));
    const watcher = await follow(chat.watchSession(sent.session.id, anna, never));
    await eventually('the request', () => world.server.active === 1);
    await chat.deleteSession(sent.session.id, anna, never);
    await eventually('the slot to be free', () => world.server.active === 0, 500);
    expect((await reader.all).at(-1)).toMatchObject({ type: 'end', status: 'stopped' });
    await watcher.all;
    expect(await chat.findSession(sent.session.id, anna)).toBeNull();
    expect(await chat.findMessage(id, anna)).toBeNull();
    expect(await world.database.em().count(ChatMessage, { sessionId: sent.session.id })).toBe(0);
    expect(await world.database.em().count(StateEvent, { subjectId: id })).toBe(0);
    await expect(chat.deleteSession(sent.session.id, anna, never)).rejects.toMatchObject({ code: 'CHAT_SESSION_NOT_FOUND' });
    gate.open();
  });

  it('leaves nothing behind when it is deleted while messages are being sent', async () => {
    const session = await chat.createSession({ deploymentIds }, anna, never);
    const first = await ask(world, { sessionId: session.id, message: 'x' }, anna);
    const work = [
      ...Array.from({ length: 5 }, () => chat.send({ sessionId: session.id, message: 'x', parentId: first.answer.id }, anna, never)),
      chat.deleteSession(session.id, anna, never),
    ];
    await Promise.allSettled(work);
    await eventually('no answer being made', () => world.server.active === 0);
    expect(await world.database.em().count(ChatMessage, { sessionId: session.id })).toBe(0);
  });
});

describe('lists', () => {
  it('of sessions are newest first and page without repeating or skipping while sessions come and go', async () => {
    const owner = principalOf('pager');
    const made: string[] = [];
    for (let index = 0; index < 7; index += 1) made.unshift((await chat.createSession({ title: `s${index}` }, owner, never)).id);
    const first = await chat.listSessions({}, { limit: 3 }, owner);
    await chat.createSession({ title: 'late' }, owner, never);
    await chat.deleteSession(made[1]!, owner, never);
    const second = await chat.listSessions({}, { limit: 3, cursor: first.nextCursor! }, owner);
    const third = await chat.listSessions({}, { limit: 3, cursor: second.nextCursor! }, owner);
    expect([...first.items, ...second.items, ...third.items].map(({ id }) => id)).toEqual(made);
    expect([first.total, third.total, third.nextCursor]).toEqual([7, 7, null]);
    expect(await chat.listSessions({}, { limit: 2, cursor: first.cursors![0]! }, owner)).toMatchObject({ items: [{ id: made[2] }, { id: made[3] }] });
  });

  it('of sessions can be searched by title and text, literally', async () => {
    const owner = principalOf('searcher');
    const titled = await chat.createSession({ title: 'Über 100% Wäsche_trockner' }, owner, never);
    world.server.script({ tokens: ['Der ', 'Gezeitenkalender'] });
    const { sessionId } = await ask(world, { deploymentIds, message: 'Was hilft?' }, owner);
    const find = async (search: string): Promise<string[]> => (await chat.listSessions({ search }, { limit: 10 }, owner)).items.map(({ id }) => id);
    expect(await find('wäsche_')).toEqual([titled.id]);
    expect(await find('100%')).toEqual([titled.id]);
    expect(await find('gezeitenKALENDER')).toEqual([sessionId]);
    for (const nothing of ['10_%', '%', '_', '\\', "' or 1=1 --", 'wäschetrockner']) expect(await find(nothing)).toEqual(nothing === '%' || nothing === '_' ? [titled.id] : []);
    expect(await find('  ')).toHaveLength(2);
    expect((await chat.listSessions({ search: 'gezeiten' }, { limit: 10 }, anna)).items).toEqual([]);
  });

  it('of sessions are searched by an index over the texts, that of an answer which is being written too', async () => {
    const owner = principalOf('index searcher');
    const gate = createGate();
    world.server.script({ tokens: ['Der ', 'Springtide', ' lost'], holdBefore: { index: 2, gate } });
    const { session, answers } = await chat.send({ deploymentIds, message: 'x' }, owner, never);
    const find = async () => (await chat.listSessions({ search: 'springTIDE' }, { limit: 10 }, owner)).items.map(({ id }) => id);
    await eventually('the text so far to be stored', async () => (await find()).length === 1);
    gate.open();
    await chat.waitForEnd(answers[0]!.id, owner, never);
    expect(await find()).toEqual([session.id]);

    await ensureSearchIndex(world.database.orm.em, silentLogger);
    const plan = await world.database.orm.em.fork().transactional(async (em) => {
      // The planner of so small a table would read it as a whole.
      await em.execute('set local enable_seqscan = off');
      return await em.execute<Record<string, string>[]>("explain select m.session_id from chat_messages m where m.owner = 'x' and (m.status <> 'streaming' and m.content ilike '%springtide%' or m.status = 'streaming' and m.content ilike '%springtide%')");
    });
    expect(plan.map((row) => Object.values(row)[0]).join('\n')).toContain(searchIndexName);
  });

  it('of messages are oldest first and page to the end', async () => {
    const { sessionId } = await ask(world, { deploymentIds, message: 'm0' }, anna);
    for (let index = 1; index < 4; index += 1) await ask(world, { sessionId, message: `m${index}` }, anna);
    const all: ChatMessageView[] = [];
    let cursor: string | undefined;
    do {
      const page = await chat.messages(sessionId, { limit: 3, cursor }, anna);
      expect(page.total).toBe(8);
      all.push(...page.items);
      cursor = page.nextCursor ?? undefined;
    } while (cursor !== undefined);
    expect(all.map(({ role, content }) => (role === 'user' ? content : role))).toEqual(['m0', 'assistant', 'm1', 'assistant', 'm2', 'assistant', 'm3', 'assistant']);
    expect(all.map(({ parentId }) => parentId)).toEqual([null, ...all.slice(0, -1).map(({ id }) => id)]);
    const batch = await chat.firstMessages([sessionId, newId(), 'x'], 3, anna);
    expect([...batch.keys()]).toEqual([sessionId]);
    expect(batch.get(sessionId)).toEqual(await chat.messages(sessionId, { limit: 3 }, anna));
    expect((await chat.firstMessages([sessionId], 3, berta)).size).toBe(0);
  });

  it('refuse limits out of range and cursors of others', async () => {
    for (const page of [{ limit: 0 }, { limit: 101 }, { limit: 1.5 }, { limit: 5, cursor: 'x' }, { limit: 5, cursor: Buffer.from('["x"]').toString('base64url') }]) {
      await expect(chat.listSessions({}, page, anna)).rejects.toMatchObject({ code: 'VALIDATION_FAILED' });
    }
  });
});

describe('watching a session', () => {
  it('gives the present state, then each message that is added or ends, and ends with the session', async () => {
    const { sessionId, answer } = await ask(world, { deploymentIds, message: 'first' }, anna);
    const seen = await follow(chat.watchSession(sessionId, anna, never));
    await chat.updateSession(sessionId, { title: 'renamed' }, anna);
    const second = await ask(world, { sessionId, message: 'second' }, anna);
    await chat.deleteSession(sessionId, anna, never);
    const items = await seen.all;
    expect(items[0]).toMatchObject({ message: { id: answer.id, status: 'completed' } });
    expect(items.some(({ session }) => session.title === 'renamed')).toBe(true);
    // Events are read late: rows that are gone by then are skipped, never wrong.
    for (const { message } of items) if (message?.id === second.answer.id) expect(['streaming', 'completed']).toContain(message.status);
  });
});

describe('others', () => {
  it('find nothing of a session, on every path, whatever their role', async () => {
    const { sessionId, answer } = await ask(world, { deploymentIds, message: 'secret' }, anna);
    const message = answer.parentId!;
    const notSession = { code: 'CHAT_SESSION_NOT_FOUND' };
    const notMessage = { code: 'CHAT_MESSAGE_NOT_FOUND' };
    for (const [session, question, reply] of [[sessionId, message, answer.id], [newId(), newId(), newId()], ["x'", '', '\0']] as const) {
      const attempts: [Promise<unknown>, object][] = [
        [chat.getSession(session, berta), notSession],
        [chat.updateSession(session, { title: 'mine' }, berta), notSession],
        [chat.updateSession(session, { deploymentIds: [newId()] }, berta), notSession],
        [chat.deleteSession(session, berta, never), notSession],
        [chat.messages(session, { limit: 5 }, berta), notSession],
        [chat.send({ sessionId: session, message: 'x' }, berta, never), notSession],
        [chat.send({ sessionId: session, deploymentIds, message: 'x' }, berta, never), notSession],
        [chat.send({ deploymentIds, message: 'x', parentId: reply }, berta, never), notMessage],
        [chat.export(session, 'json', berta, never), notSession],
        [collect(chat.watchSession(session, berta, never)), notSession],
        [chat.regenerate(reply, undefined, berta, never), notMessage],
        [chat.edit(question, 'x', berta, never), notMessage],
        [chat.stop(reply, berta, never), notMessage],
        [collect(chat.stream(reply, -1, berta, never)), notMessage],
        [chat.waitForEnd(reply, berta, never), notMessage],
      ];
      for (const [attempt, fault] of attempts) await expect(attempt).rejects.toMatchObject(fault);
      expect(await chat.findSession(session, berta)).toBeNull();
      expect(await chat.findMessage(reply, berta)).toBeNull();
    }
    expect((await chat.listSessions({}, { limit: 100 }, berta)).items.map(({ owner }) => owner)).not.toContain('anna');
    expect(await chat.getSession(sessionId, anna)).toMatchObject({ messageCount: 2 });
  });

  it('with another key of the same owner share the sessions', async () => {
    const { sessionId } = await ask(world, { deploymentIds, message: 'x' }, anna);
    expect(await chat.getSession(sessionId, principalOf('anna', 'VIEWER'))).toMatchObject({ id: sessionId });
  });
});

describe('sending again with the same idempotency key', () => {
  it('answers with the first result, one after another and at once, and makes nothing twice', async () => {
    const input: SendMessage = { deploymentIds, message: 'once', idempotencyKey: `key-${newId()}` };
    const sent = await Promise.all(Array.from({ length: 8 }, () => chat.send({ ...input }, anna, never)));
    const ids = new Set(sent.map(({ session, userMessage, answers }) => [session.id, userMessage.id, ...answers.map(({ id }) => id)].join()));
    expect(ids.size).toBe(1);
    const answer = await chat.waitForEnd(sent[0]!.answers[0]!.id, anna, never);
    const again = await chat.send(input, anna, never);
    expect(again.answers).toEqual([answer]);
    expect(world.server.requests).toHaveLength(1);
    expect(again.session.messageCount).toBe(2);
  });

  it('is refused with other input, and is another key for another owner', async () => {
    const idempotencyKey = `key-${newId()}`;
    await ask(world, { deploymentIds, message: 'one', idempotencyKey }, anna);
    await expect(chat.send({ deploymentIds, message: 'two', idempotencyKey }, anna, never)).rejects.toMatchObject({ code: 'IDEMPOTENCY_CONFLICT' });
    expect((await ask(world, { deploymentIds, message: 'two', idempotencyKey }, berta)).answer.status).toBe('completed');
  });

  it('is free again when nothing came of the first call', async () => {
    const idempotencyKey = `key-${newId()}`;
    const input: SendMessage = { deploymentIds, message: 'x', parentId: newId(), idempotencyKey };
    await expect(chat.send(input, anna, never)).rejects.toMatchObject({ code: 'CHAT_MESSAGE_NOT_FOUND' });
    expect((await ask(world, { deploymentIds, message: 'x', idempotencyKey }, anna)).answer.status).toBe('completed');
  });
});

describe('input', () => {
  it.each<[string, Partial<SendMessage> & Record<string, unknown>, string]>([
    ['an empty message', { message: ' \n' }, 'message'],
    ['a message with NUL', { message: 'a\0b' }, 'message'],
    ['a message with half a character', { message: 'a\ud800' }, 'message'],
    ['no deployment', { deploymentIds: [] }, 'deployment_ids'],
    ['a deployment twice', { deploymentIds: ['a', 'A'] }, 'deployment_ids'],
    ['too many deployments', { deploymentIds: Array.from({ length: 17 }, newId) }, 'deployment_ids'],
    ['an unknown field', { surprise: true }, 'surprise'],
    ['an unknown parameter', { parameters: { nDiscard: -1 } as object }, 'parameters.n_discard'],
    ['a hot temperature', { parameters: { temperature: 2.01 } }, 'parameters.temperature'],
    ['a top_p above 1', { parameters: { topP: 1.1 } }, 'parameters.top_p'],
    ['a broken top_k', { parameters: { topK: 1.5 } }, 'parameters.top_k'],
    ['no tokens', { parameters: { maxTokens: 0 } }, 'parameters.max_tokens'],
    ['too large a seed', { parameters: { seed: 2 ** 31 } }, 'parameters.seed'],
    ['not a number', { parameters: { repeatPenalty: Number.NaN } }, 'parameters.repeat_penalty'],
    ['an endless number', { parameters: { presencePenalty: Number.POSITIVE_INFINITY } }, 'parameters.presence_penalty'],
    ['an empty stop', { parameters: { stop: [''] } }, 'parameters.stop.0'],
    ['a stop with NUL', { parameters: { stop: ['\0'] } }, 'parameters.stop.0'],
    ['an unknown format', { parameters: { responseFormat: { type: 'xml' } as never } }, 'parameters.response_format.type'],
    ['a schema with NUL in it', { parameters: { responseFormat: { type: 'json_schema', jsonSchema: { title: '\0' } } } }, 'parameters.response_format.json_schema'],
    ['a schema that pollutes', { parameters: { responseFormat: { type: 'json_schema', jsonSchema: JSON.parse('{"a":{"__proto__":{"x":1}}}') as Record<string, unknown> } } }, 'parameters.response_format.json_schema'],
    ['an idempotency key with spaces', { idempotencyKey: 'a b' }, 'idempotency_key'],
  ])('with %s is refused by the name of its field', async (_, change, field) => {
    const input = { deploymentIds, message: 'x', ...change };
    await expect(chat.send(input, anna, never)).rejects.toMatchObject({ code: 'VALIDATION_FAILED', details: { fields: [expect.objectContaining({ field })] } });
    expect(world.server.requests).toHaveLength(0);
  });

  it('of a session is refused in the same way', async () => {
    const cases: [CreateSession & Record<string, unknown>, string][] = [
      [{ title: ' ' }, 'title'],
      [{ title: 'x'.repeat(201) }, 'title'],
      [{ systemPrompt: '\0' }, 'system_prompt'],
      [{ parameters: { topP: -1 } }, 'parameters.top_p'],
      [{ owner: 'berta' }, 'owner'],
    ];
    for (const [input, field] of cases) {
      await expect(chat.createSession(input, anna, never)).rejects.toMatchObject({ code: 'VALIDATION_FAILED', details: { fields: [expect.objectContaining({ field })] } });
    }
    await expect(chat.createSession({ deploymentIds: [newId()] }, anna, never)).rejects.toMatchObject({ code: 'DEPLOYMENT_NOT_FOUND' });
  });

  it('of more than a MiB is too large, of a MiB is not', async () => {
    await expect(chat.send({ deploymentIds, message: 'é'.repeat(512 * 1024 + 1) }, anna, never)).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
    expect((await ask(world, { deploymentIds, message: 'é'.repeat(512 * 1024) }, anna)).answer.status).toBe('completed');
  });

  it('for a deployment that cannot answer is refused before anything is stored', async () => {
    const stopped = world.addDeployment({ status: 'stopped', desiredStatus: 'stopped' });
    const failed = world.addDeployment({ status: 'failed', error: { code: 'START_FAILED', message: 'no memory' } });
    const before = (await chat.listSessions({}, { limit: 1 }, anna)).total;
    await expect(chat.send({ deploymentIds: [stopped.view.id], message: 'x' }, anna, never)).rejects.toMatchObject({ code: 'INVALID_STATE', details: { status: 'stopped' } });
    await expect(chat.send({ deploymentIds: [failed.view.id], message: 'x' }, anna, never)).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
    await expect(chat.send({ deploymentIds: ['x'], message: 'x' }, anna, never)).rejects.toMatchObject({ code: 'DEPLOYMENT_NOT_FOUND' });
    expect((await chat.listSessions({}, { limit: 1 }, anna)).total).toBe(before);
  });

  it('below an answer that is still being written, or of the wrong kind, is refused by the state', async () => {
    const gate = createGate();
    world.server.script({ holdBefore: { index: 0, gate } });
    const { session, userMessage, answers } = await chat.send({ deploymentIds, message: 'x' }, anna, never);
    await expect(chat.send({ sessionId: session.id, message: 'y' }, anna, never)).rejects.toMatchObject({ code: 'INVALID_STATE', details: { status: 'streaming' } });
    await expect(chat.edit(answers[0]!.id, 'y', anna, never)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    await expect(chat.regenerate(userMessage.id, undefined, anna, never)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    for (const after of [-2, 0.5, Number.NaN]) await expect(collect(chat.stream(answers[0]!.id, after, anna, never))).rejects.toMatchObject({ code: 'VALIDATION_FAILED' });
    gate.open();
    await chat.waitForEnd(answers[0]!.id, anna, never);
    await expect(chat.send({ sessionId: session.id, message: 'y', parentId: newId() }, anna, never)).rejects.toMatchObject({ code: 'CHAT_MESSAGE_NOT_FOUND' });
  });
});
