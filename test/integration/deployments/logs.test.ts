import { appendFile, mkdtemp, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { LogStore } from '../../../src/domains/deployments/logs/log-store.ts';
import type { LogEvent } from '../../../src/domains/deployments/types.ts';
import { InProcessEventBus } from '../../../src/infrastructure/events/in-process-event-bus.ts';
import type { LogLine } from '../../../src/shared/event-bus.ts';
import { newId } from '../../../src/shared/ids.ts';
import { eventually } from '../../support/eventually.ts';
import { createManualClock, type ManualClock } from '../../support/manual-clock.ts';
import { createRecordingLogger } from '../../support/recording-logger.ts';

const never = new AbortController().signal;
const id = newId();
let folder: string;
let clock: ManualClock;
let events: InProcessEventBus;
let store: LogStore;
const logger = createRecordingLogger();

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'llmm-logs-'));
  clock = createManualClock();
  events = new InProcessEventBus({ clock });
  store = createStore();
});
afterEach(async () => {
  await events.close();
  await rm(folder, { recursive: true });
});

function createStore(limits = {}): LogStore {
  return new LogStore({ folder, events, clock, logger, limits });
}

async function messages(query: Parameters<LogStore['read']>[1]): Promise<string[]> {
  return (await store.read(id, query, never)).items.map((line) => line.message);
}

async function writeRun(run: number, lines: readonly string[]): Promise<void> {
  const open = await store.openRun(id, run);
  for (const line of lines) {
    open.log.write('stderr', line.startsWith('bad') ? 'error' : 'info', line);
    clock.advance(1_000);
  }
  await open.close();
}

describe('reading', () => {
  it('gives all runs, oldest first, in pages that go on where the last one ended', async () => {
    await writeRun(1, ['one', 'two', 'three']);
    await writeRun(2, ['four', 'five']);
    const first = await store.read(id, { limit: 2 }, never);
    expect(first.items).toMatchObject([{ message: 'one', run: 1, stream: 'stderr', level: 'info', time: '2026-01-01T00:00:00.000Z' }, { message: 'two' }]);
    const second = await store.read(id, { limit: 2, cursor: first.nextCursor ?? '' }, never);
    expect(second.items.map((line) => [line.run, line.message])).toEqual([[1, 'three'], [2, 'four']]);
    const third = await store.read(id, { limit: 2, cursor: second.nextCursor ?? '' }, never);
    expect(third.items.map((line) => line.message)).toEqual(['five']);
    expect(third.nextCursor).toBeNull();
  });

  it('finds by tail, time, level and text', async () => {
    await writeRun(1, ['alpha', 'bad Beta', 'gamma']);
    await writeRun(2, ['delta', 'bad epsilon']);
    expect(await messages({ limit: 10, tail: 2 })).toEqual(['delta', 'bad epsilon']);
    expect(await messages({ limit: 10, tail: 4 })).toEqual(['bad Beta', 'gamma', 'delta', 'bad epsilon']);
    expect(await messages({ limit: 10, tail: 1, level: 'error', until: new Date('2026-01-01T00:00:02Z') })).toEqual(['bad Beta']);
    expect(await messages({ limit: 10, since: new Date('2026-01-01T00:00:02Z'), until: new Date('2026-01-01T00:00:03Z') })).toEqual(['gamma', 'delta']);
    expect(await messages({ limit: 10, level: 'error' })).toEqual(['bad Beta', 'bad epsilon']);
    expect(await messages({ limit: 10, search: 'BETA' })).toEqual(['bad Beta']);
    expect(await messages({ limit: 10, tail: 0 })).toEqual([]);
  });

  it('gives lines in the order of their times, also those of the engine that were read late', async () => {
    const open = await store.openRun(id, 1);
    open.log.write('supervisor', 'info', 'ready', '2026-01-01T00:00:05.000Z');
    open.log.write('stderr', 'info', 'listening', '2026-01-01T00:00:04.900Z');
    open.log.write('stderr', 'info', 'answering', '2026-01-01T00:00:06.000Z');
    await open.close();
    const { items } = await store.read(id, { limit: 10 }, never);
    expect(items.map(({ time, message }) => [time, message])).toEqual([
      ['2026-01-01T00:00:05.000Z', 'ready'],
      ['2026-01-01T00:00:05.000Z', 'listening'],
      ['2026-01-01T00:00:06.000Z', 'answering'],
    ]);
  });

  it('goes on after a page of a tail without leaving a line out', async () => {
    await writeRun(1, ['one', 'two', 'three', 'four']);
    const page = await store.read(id, { limit: 2, tail: 3 }, never);
    expect(page.items.map((line) => line.message)).toEqual(['two', 'three']);
    expect(await messages({ limit: 2, tail: 3, cursor: page.nextCursor ?? '' })).toEqual(['four']);
  });

  it('has lines at once that are still on their way to the disk', async () => {
    const open = await store.openRun(id, 1);
    open.log.write('stdout', 'info', 'just now');
    expect(await messages({ limit: 10 })).toEqual(['just now']);
    await open.close();
  });

  it('passes over a line that a crash left torn', async () => {
    await writeRun(1, ['whole']);
    await appendFile(join(folder, id, '1.0.jsonl'), '{"t":"2026-01-01T00:0');
    await writeRun(2, ['after']);
    expect(await messages({ limit: 10 })).toEqual(['whole', 'after']);
  });

  it('refuses a cursor of another deployment, whose lines lie elsewhere', async () => {
    await writeRun(1, ['one', 'two']);
    const { nextCursor } = await store.read(id, { limit: 1 }, never);
    const other = newId();
    const open = await store.openRun(other, 1);
    for (const line of ['three', 'four']) open.log.write('stderr', 'info', line);
    await open.close();
    await expect(store.read(other, { limit: 1, cursor: nextCursor ?? '' }, never)).rejects.toMatchObject({ code: 'VALIDATION_FAILED', details: { fields: [{ field: 'cursor' }] } });
  });

  it('takes no time from an engine that is no time or far ahead, so that one line cannot carry all later ones away', async () => {
    const open = await store.openRun(id, 1);
    await writeFile(open.outputFile, '9999-12-31T23:59:59.999Z info from the future\n2026-99-99T99:99:99.999Z info no time\nplain\n');
    await open.close();
    const { items } = await store.read(id, { limit: 10 }, never);
    expect(items.map(({ time, message }) => [time, message])).toEqual(['from the future', 'no time', 'plain'].map((message) => ['2026-01-01T00:00:00.000Z', message]));
  });

  it('refuses a cursor that no line has', async () => {
    await expect(store.read(id, { limit: 1, cursor: 'nonsense' }, never)).rejects.toMatchObject({ code: 'VALIDATION_FAILED' });
    const negative = Buffer.from(JSON.stringify([id, -1, 0, 0])).toString('base64url');
    await expect(store.read(id, { limit: 1, cursor: negative }, never)).rejects.toMatchObject({ code: 'VALIDATION_FAILED' });
  });

  it('is empty for a deployment that never ran', async () => {
    expect(await store.read(newId(), { limit: 10 }, never)).toEqual({ items: [], nextCursor: null, total: null });
  });
});

describe('bounds', () => {
  it('keeps the beginning and the end of a run and says that lines are missing between', async () => {
    store = createStore({ segmentBytes: 1_000, newestSegments: 2, burstLines: 10_000 });
    const open = await store.openRun(id, 1);
    for (let number = 0; number < 200; number += 1) {
      open.log.write('stderr', 'info', `line ${number}`);
      if (number % 10 === 0) await open.log.flush();
    }
    await open.close();
    const kept = await messages({ limit: 100 });
    expect(kept[0]).toBe('line 0');
    expect(kept.at(-1)).toBe('line 199');
    expect(kept.filter((message) => message.startsWith('Lines are missing'))).toHaveLength(1);
    const files = await readdir(join(folder, id));
    expect(files.filter((file) => file.endsWith('.jsonl'))).toHaveLength(3);
  });

  it('keeps so many runs and no more', async () => {
    store = createStore({ runsKept: 2 });
    for (let run = 1; run <= 4; run += 1) await writeRun(run, [`run ${run}`]);
    expect(await messages({ limit: 10 })).toEqual(['run 3', 'run 4']);
  });

  it('lets go of what was written a month ago', async () => {
    await writeRun(1, ['of old']);
    await writeRun(2, ['newer']);
    const [name = ''] = (await readdir(join(folder, id))).filter((file) => file.startsWith('1.'));
    const monthAgo = Date.now() / 1000 - 31 * 86_400;
    await utimes(join(folder, id, name), monthAgo, monthAgo);
    await writeRun(3, ['newest']);
    expect(await messages({ limit: 10 })).toEqual(['newer', 'newest']);
  });

  it('leaves out what comes faster than is kept, and counts it', async () => {
    store = createStore({ burstLines: 5, linesPerSecond: 10 });
    const open = await store.openRun(id, 1);
    for (let number = 0; number < 20; number += 1) if (open.log.admit()) open.log.write('stderr', 'info', `line ${number}`);
    clock.advance(1_000);
    if (open.log.admit()) open.log.write('stderr', 'info', 'calm again');
    await open.close();
    expect(await messages({ limit: 50 })).toEqual(['line 0', 'line 1', 'line 2', 'line 3', 'line 4', '15 lines were left out: more came than are kept.', 'calm again']);
  });

  it('takes over output that an engine writes, however fast, and stays small', async () => {
    store = createStore({ burstLines: 1_000, segmentBytes: 100_000 });
    const open = await store.openRun(id, 1);
    const chunk = 'a line of a flood, as long as many are, and then a little longer\n'.repeat(10_000);
    for (let times = 0; times < 30; times += 1) await appendFile(open.outputFile, chunk);
    await appendFile(open.outputFile, 'the end without a newline');
    await open.close();
    const all = await messages({ limit: 5_000 });
    expect(all.at(-1)).toBe('299001 lines were left out: more came than are kept.');
    expect(all).toHaveLength(1_001);
    expect(await readdir(join(folder, id))).not.toContain('1.out');
  });

  it('empties the file of an engine that goes on for long', async () => {
    const open = await store.openRun(id, 1);
    await writeFile(open.outputFile, `${'x'.repeat(100)}\n`.repeat(100_000), { flag: 'a' });
    await eventually('the file was emptied', async () => (await stat(open.outputFile)).size === 0);
    await appendFile(open.outputFile, 'after it was emptied\n');
    clock.advance(60_000);
    await eventually('the next line was taken over', async () => (await messages({ limit: 10, tail: 1 }))[0] === 'after it was emptied');
    await open.close();
  });

  it('cuts a line at 8 KiB and says how much it left out', async () => {
    const open = await store.openRun(id, 1);
    await writeFile(open.outputFile, `${'x'.repeat(1_000_000)}\nshort\n`);
    await open.close();
    const [long = '', short] = await messages({ limit: 10 });
    expect(long).toBe(`${'x'.repeat(8192)} ... (991808 more bytes)`);
    expect(short).toBe('short');
  });
});

describe('what is stored', () => {
  it('cannot move a terminal, forge a line or turn text around', async () => {
    const open = await store.openRun(id, 1);
    await writeFile(open.outputFile, 'red \u001B[31mtext\u001B[0m title \u001B]0;owned\u0007 c1 \u009B2J bidi \u202Eabc\u2069 line\u2028sep bell\u0007 back\rover tab\tok\n');
    open.log.write('stderr', 'info', 'one\ntwo \u001B[2J');
    await open.close();
    for (const message of await messages({ limit: 10 })) {
      expect(message).not.toMatch(/[\u0000-\u0008\u000A-\u001F\u007F-\u009F\u2028-\u202E\u2066-\u2069]/);
    }
    expect((await messages({ limit: 10 }))[1]).toContain('tab\tok');
  });

  it('has the level and time that the engine gave, and a guess where it gave none', async () => {
    const open = await store.openRun(id, 1);
    await writeFile(open.outputFile, '2025-12-31T23:59:59.123Z warn its own words\nllama_load: error: no such tensor\nWARNING: slow\nplain\n');
    await open.close();
    const { items } = await store.read(id, { limit: 10 }, never);
    expect(items.map((line) => [line.level, line.message])).toEqual([['warn', 'its own words'], ['error', 'llama_load: error: no such tensor'], ['warn', 'WARNING: slow'], ['info', 'plain']]);
    expect(items[0]?.time).toBe('2025-12-31T23:59:59.123Z');
  });
});

describe('following', () => {
  function follow(options: Parameters<LogStore['follow']>[1], signal: AbortSignal): { events: LogEvent[]; ended: Promise<void> } {
    const seen: LogEvent[] = [];
    const ended = (async () => {
      for await (const event of store.follow(id, options, signal)) seen.push(event);
    })();
    return { events: seen, ended };
  }
  const text = (event: LogEvent | undefined): string => (event?.type === 'line' ? event.line.message : `dropped ${event?.lines ?? '?'}`);

  it('gives stored lines first, then live ones, none twice and none left out', async () => {
    await writeRun(1, ['first']);
    const open = await store.openRun(id, 2);
    open.log.write('stderr', 'info', 'second');
    const ended = new AbortController();
    const followed = follow({ since: new Date(0) }, ended.signal);
    await eventually('the stored lines came', () => followed.events.length === 2);
    for (let number = 3; number < 50; number += 1) open.log.write('stderr', 'info', `line ${number}`);
    await eventually('the live lines came', () => followed.events.length === 49);
    ended.abort();
    await followed.ended;
    expect(followed.events.map(text)).toEqual(['first', 'second', ...Array.from({ length: 47 }, (_, index) => `line ${index + 3}`)]);
    await open.close();
  });

  it('begins with what is live when nothing stored is asked for, filtered', async () => {
    await writeRun(1, ['stored']);
    const open = await store.openRun(id, 2);
    const ended = new AbortController();
    const followed = follow({ level: 'error' }, ended.signal);
    open.log.write('stderr', 'info', 'unimportant');
    open.log.write('stderr', 'error', 'important');
    await eventually('a line came', () => followed.events.length === 1);
    ended.abort();
    await followed.ended;
    expect(followed.events.map(text)).toEqual(['important']);
    await open.close();
  });

  it('tells a reader that fell behind how many lines it missed, and goes on', async () => {
    const open = await store.openRun(id, 1);
    const ended = new AbortController();
    const reading = store.follow(id, {}, ended.signal)[Symbol.asyncIterator]();
    const first = reading.next();
    open.log.write('stderr', 'info', 'line 0');
    expect(text((await first).value as LogEvent)).toBe('line 0');
    for (let number = 1; number <= 5_000; number += 1) open.log.write('stderr', 'info', `line ${number}`);
    const next = (await reading.next()).value as LogEvent;
    expect(next).toEqual({ type: 'dropped', lines: 4_000 });
    expect(text((await reading.next()).value as LogEvent)).toBe('line 4001');
    ended.abort();
    await reading.return(undefined);
    await open.close();
  });

  it('misses nothing that was written while the stored lines were read', async () => {
    await writeRun(1, ['stored']);
    const open = await store.openRun(id, 2);
    const ended = new AbortController();
    const reading = store.follow(id, { since: new Date(0) }, ended.signal)[Symbol.asyncIterator]();
    expect(text((await reading.next()).value as LogEvent)).toBe('stored');
    // More than a subscription holds, while the reader is still at the stored lines.
    for (let number = 1; number <= 3_000; number += 1) open.log.write('stderr', 'info', `line ${number}`);
    const seen: string[] = [];
    while (seen.length < 3_000) seen.push(text((await reading.next()).value as LogEvent));
    expect(seen).toEqual(Array.from({ length: 3_000 }, (_, index) => `line ${index + 1}`));
    ended.abort();
    await reading.return(undefined);
    await open.close();
  });
});

it('removes everything of a deployment and nothing beside it', async () => {
  await writeRun(1, ['one']);
  const other = newId();
  const open = await store.openRun(other, 1);
  open.log.write('stderr', 'info', 'stays');
  await open.close();
  await store.remove(id);
  expect(await messages({ limit: 10 })).toEqual([]);
  expect((await store.read(other, { limit: 10 }, never)).items.map((line: LogLine) => line.message)).toEqual(['stays']);
  await expect(store.remove('../outside')).rejects.toThrow();
});
