import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { ChatMessage } from '../../../src/domains/chat/chat.entity.ts';
import { PartialSaver } from '../../../src/domains/chat/generation/partial-saver.ts';
import { MessageRepository, type GrownText } from '../../../src/domains/chat/message.repository.ts';
import { newId } from '../../../src/shared/ids.ts';
import { insertOf, runTogether } from '../../../src/shared/persistence/write-rows.repository.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';

let database: TestDatabase;
let messages: MessageRepository;
beforeAll(async () => {
  database = await createTestDatabase();
  messages = new MessageRepository(database.em());
});
afterAll(async () => {
  await database.drop();
});

async function begun(count: number): Promise<string[]> {
  const rows = Array.from({ length: count }, () => ({
    ...{ id: newId(), sessionId: newId(), owner: 'o', parentId: null, role: 'assistant' as const, content: '', pieceLengths: '', deploymentId: null, modelId: null, status: 'streaming' as const },
    ...{ parameters: {}, usage: null, finishReason: null, error: null, instanceId: null, createdAt: new Date(), finishedAt: null },
  }));
  for (const row of rows) await runTogether(database.em(), [insertOf(database.em(), ChatMessage, [row])]);
  return rows.map(({ id }) => id);
}

const grownBy = (id: string, before: string, content: string): GrownText => ({ id, hadBytes: Buffer.byteLength(before), content, pieceLengths: `${before === '' ? '' : ','}${content.length}` });
const read = async (id: string | undefined): Promise<string> => {
  const { content, pieceLengths } = await database.em().findOneOrFail(ChatMessage, { id: id ?? '' }, { populate: ['pieceLengths'] });
  return `${content}|${pieceLengths}`;
};

it('adds to the texts of many answers at once what each has grown by', async () => {
  const ids = await begun(40);
  const saver = new PartialSaver(messages);
  const saveAll = async (before: string, content: string): Promise<boolean[]> => await Promise.all(ids.map(async (id, index) => await saver.save(grownBy(id, `${before}${before && index}`, `${content}${index}`))));

  expect(await saveAll('', "é'?\\🙂")).toEqual(ids.map(() => true));
  expect(await saveAll("é'?\\🙂", 'b')).toEqual(ids.map(() => true));
  expect(await Promise.all(ids.map(read))).toEqual(ids.map((_, index) => `é'?\\🙂${index}b${index}|${`é'?\\🙂${index}`.length},${`b${index}`.length}`));
});

it('leaves out an answer that has ended, one with another text and one that somebody holds, and adds to the others', async () => {
  const [ended = '', other = '', held = '', good = ''] = await begun(4);
  await messages.end(ended, { status: 'stopped', text: { content: 'end', pieceLengths: '3' }, usage: null, finishReason: null, error: null }, new Date());
  await messages.savePartial(other, { content: 'saved before', pieceLengths: '12' });
  const saver = new PartialSaver(messages);
  const saved = await database.em().transactional(async (tx) => {
    await tx.execute('select 1 from chat_messages where id = ? for update', [held]);
    return await Promise.all([ended, other, held, good].map(async (id) => await saver.save(grownBy(id, '', 'abc'))));
  });

  expect(saved).toEqual([false, false, false, true]);
  expect(await Promise.all([ended, other, held, good].map(read))).toEqual(['end|3', 'saved before|12', '|', 'abc|3']);
});

it('tells each of those who wait that the database was away, and goes on with the next', async () => {
  const [id = ''] = await begun(1);
  let isAway = true;
  const saver = new PartialSaver({
    appendPartials: async (grown) => {
      if (isAway) throw new Error('away');
      return await messages.appendPartials(grown);
    },
  });

  const results = await Promise.allSettled([saver.save(grownBy(id, '', 'a')), saver.save(grownBy(newId(), '', 'b'))]);
  expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  isAway = false;
  expect(await saver.save(grownBy(id, '', 'a'))).toBe(true);
});

it('has answers that began together save in turn, as many in each moment, and each of them as often as the others', () => {
  const saver = new PartialSaver(messages);
  const beganAtMs = 123_456.7;
  const answers = Array.from({ length: 70 }, () => saver.moment(700));
  const savesOf = (untilNextMs: (nowMs: number) => number): number[] => {
    const saves: number[] = [];
    for (let nowMs = beganAtMs; saves.length < 4; saves.push(nowMs - beganAtMs)) nowMs += untilNextMs(nowMs);
    return saves;
  };
  const saves = answers.map(savesOf);
  for (const [first = 0, ...later] of saves) {
    expect(first).toBeGreaterThanOrEqual(280);
    expect(first).toBeLessThanOrEqual(981);
    expect(later.map((ms, index) => Math.round((ms - first) / 700 - index))).toEqual([1, 1, 1]);
  }
  const together = Object.values(Object.groupBy(saves.flat(), (ms) => Math.round(ms / 50)));
  expect(together.every((moment) => moment?.length === 10)).toBe(true);
});

it('does not save twice in one moment where a timer comes early', () => {
  const untilNextMs = new PartialSaver(messages).moment(700);
  expect([699.4, 700, 700.4].map((nowMs) => untilNextMs(nowMs))).toEqual([701, 700, 700]);
});
