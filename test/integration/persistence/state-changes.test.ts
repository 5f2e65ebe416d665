import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { ChatMessage, ChatSession, type MessageRow, type SessionRow } from '../../../src/domains/chat/chat.entity.ts';
import { chatMessageMachine } from '../../../src/domains/chat/chat-message.machine.ts';
import { newId } from '../../../src/shared/ids.ts';
import { StateEvent } from '../../../src/shared/persistence/state-event.entity.ts';
import { transition } from '../../../src/shared/persistence/transition.repository.ts';
import { insertOf, runTogether, runUpdate, updateOf } from '../../../src/shared/persistence/write-rows.repository.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await database.drop();
});

const at = new Date('2026-01-02T03:04:05.678Z');
/** What would be read as SQL, as a place for a value or as an escape, if it were not written with care. */
const awkward = "it's ? and ?? and \\? and \\' and \"x\" -- ; $1 :name \n\t 🙂 é";

function streamingRow(): MessageRow {
  return {
    ...{ id: newId(), sessionId: newId(), owner: 'o', parentId: null, role: 'assistant', content: '', pieceLengths: '', deploymentId: null, modelId: null, status: 'streaming' },
    ...{ parameters: {}, usage: null, finishReason: null, error: null, instanceId: null, createdAt: at, finishedAt: null },
  };
}

async function stored(): Promise<MessageRow> {
  const row = streamingRow();
  await runTogether(database.em(), [insertOf(database.em(), ChatMessage, [row])]);
  return row;
}

const read = async (id: string): Promise<ChatMessage> => await database.em().findOneOrFail(ChatMessage, { id }, { populate: ['pieceLengths'] });
const eventsOf = async (id: string): Promise<StateEvent[]> => await database.em().find(StateEvent, { subjectId: id }, { orderBy: { id: 'asc' } });

it('changes the state, further columns and the events together, whatever their texts hold', async () => {
  const { id } = await stored();
  const patch = { content: awkward, pieceLengths: '1,2', usage: { promptTokens: 1, completionTokens: 2, timeToFirstTokenMs: null, tokensPerSecond: 1.5, messagesLeftOut: 0 }, error: { code: 'CRASHED' as const, message: awkward }, finishedAt: at };

  expect(await transition<ChatMessage['status'], ChatMessage>(database.em(), ChatMessage, { machine: chatMessageMachine, id, to: 'failed', patch, reason: awkward, at })).toBe('streaming');
  expect(await read(id)).toMatchObject({ ...patch, status: 'failed', createdAt: at, parameters: {} });
  expect(await eventsOf(id)).toMatchObject([{ kind: 'chat_message', fromState: 'streaming', toState: 'failed', reason: awkward, at }]);
});

it('leaves a row alone whose state does not lead there, and one that is not there', async () => {
  const { id } = await stored();
  const to = async (state: 'completed' | 'stopped', from?: ChatMessage['status'][]): Promise<string | null> =>
    await transition<ChatMessage['status'], ChatMessage>(database.em(), ChatMessage, { machine: chatMessageMachine, id, to: state, at, patch: { content: state }, ...(from && { from }) });

  expect(await to('completed', ['failed'])).toBeNull();
  expect(await to('completed')).toBe('streaming');
  expect(await to('stopped')).toBeNull();
  expect(await transition<ChatMessage['status'], ChatMessage>(database.em(), ChatMessage, { machine: chatMessageMachine, id: newId(), to: 'stopped', at })).toBeNull();
  expect(await read(id)).toMatchObject({ status: 'completed', content: 'completed' });
  expect(await eventsOf(id)).toHaveLength(1);
});

it('lets exactly one of many changes from the same state happen', async () => {
  const { id } = await stored();
  const ends = ['completed', 'stopped', 'failed', 'interrupted'] as const;
  const left = await Promise.all(
    Array.from({ length: 24 }, async (_, index) => await transition<ChatMessage['status'], ChatMessage>(database.em(), ChatMessage, { machine: chatMessageMachine, id, to: ends[index % 4] ?? 'failed', at })),
  );

  expect(left.filter((state) => state !== null)).toEqual(['streaming']);
  expect(await eventsOf(id)).toMatchObject([{ toState: (await read(id)).status }]);
});

it('judges a row that somebody else holds by the state in which it is let go', async () => {
  const [ended, kept] = [await stored(), await stored()];
  const end = async (id: string): Promise<string | null> => await transition<ChatMessage['status'], ChatMessage>(database.em(), ChatMessage, { machine: chatMessageMachine, id, to: 'completed', at });
  let waiting: Promise<string | null>[] = [];
  await database.em().transactional(async (tx) => {
    await tx.execute("update chat_messages set status = 'stopped' where id = ?", [ended.id]);
    await tx.execute("update chat_messages set content = 'theirs' where id = ?", [kept.id]);
    waiting = [end(ended.id), end(kept.id)];
    // Both wait for this transaction before it goes on.
    for (let blocked = 0; blocked < 2; ) {
      const [row] = await tx.execute<{ blocked: string }[]>("select count(*) as blocked from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'");
      blocked = Number(row?.blocked);
    }
  });

  expect(await Promise.all(waiting)).toEqual([null, 'streaming']);
  expect(await read(ended.id)).toMatchObject({ status: 'stopped' });
  expect(await read(kept.id)).toMatchObject({ status: 'completed', content: 'theirs' });
});

it('writes several statements as one: all of them or none', async () => {
  const { id } = await stored();
  const session: SessionRow = { id: newId(), title: awkward, owner: 'o', systemPrompt: null, parameters: { stop: ['?'] }, deploymentIds: [newId(), newId()], createdAt: at, updatedAt: at };
  const em = database.em();

  await expect(runTogether(em, [insertOf(em, ChatSession, [session]), insertOf(em, ChatMessage, [{ ...streamingRow(), id }])])).rejects.toThrow();
  expect(await database.em().findOne(ChatSession, { id: session.id })).toBeNull();
  await runTogether(em, [insertOf(em, ChatSession, [session]), updateOf(em, ChatMessage, { content: awkward }, [['id = ?', id]])]);
  expect(await database.em().findOne(ChatSession, { id: session.id })).toMatchObject(session);
  expect(await read(id)).toMatchObject({ content: awkward });
});

it('tells how many rows an update has changed', async () => {
  const { id } = await stored();
  const em = database.em();
  const update = async (status: string): Promise<number> => await runUpdate(em, updateOf(em, ChatMessage, { content: 'x' }, [['id = ?', id], ['status = ?', status]]));

  expect(await update('completed')).toBe(0);
  expect(await update('streaming')).toBe(1);
});
