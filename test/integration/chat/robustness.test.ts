import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { AppError } from '../../../src/shared/errors.ts';
import type { ChatStreamEvent } from '../../../src/domains/chat/types.ts';
import { createGate } from '../../../src/shared/async.ts';
import { withSqlClient } from '../../../src/infrastructure/database/sql-client.ts';
import { MemoryTokenStream } from '../../../src/infrastructure/events/memory-token-stream.ts';
import { systemClock } from '../../../src/infrastructure/system-clock.ts';
import { assertGapless, collect, createChatWorld, follow, never, principalOf, textOf, type ChatWorld } from '../../support/chat-world.ts';
import { eventually } from '../../support/eventually.ts';
import { openTestLive, type TestLive } from '../../support/live.ts';

const anna = principalOf('anna');
let world: ChatWorld;
/** Events and streams that several services have in common, as over Redis. */
let shared: TestLive;
beforeAll(async () => {
  world = await createChatWorld();
  shared = await openTestLive();
});
afterAll(async () => {
  await world.close();
  await shared.close();
});
beforeEach(() => {
  world.server.reset();
});

describe('chat', () => {
  it('is not held up by 20 readers that stop reading, and gives each of them all of it later', async () => {
    const tokens = Array.from({ length: 1_000 }, (_, index) => `${index} ${'x'.repeat(1_000)}\n`);
    world.server.script({ tokens });
    const { answers } = await world.chat.send({ deploymentIds: [world.deployment.view.id], message: 'x' }, anna, never);
    const id = answers[0]!.id;
    const stalled = await Promise.all(Array.from({ length: 20 }, async () => (await world.chat.stream(id, -1, anna, never))[Symbol.asyncIterator]()));
    await Promise.all(stalled.map((reader) => reader.next()));
    const stored = await world.chat.waitForEnd(id, anna, never);
    expect(stored).toMatchObject({ status: 'completed', usage: { completionTokens: 1_000 } });
    for (const reader of stalled) {
      const rest = await collect({ [Symbol.asyncIterator]: () => reader });
      expect(textOf(rest) === stored.content).toBe(true);
    }
  });

  it('ends a reader that goes away, and nothing else', async () => {
    const gate = createGate();
    world.server.script({ tokens: ['a', 'b'], holdBefore: { index: 1, gate } });
    const { answers } = await world.chat.send({ deploymentIds: [world.deployment.view.id], message: 'x' }, anna, never);
    const id = answers[0]!.id;
    const gone = new AbortController();
    const leaving = await follow(world.chat.stream(id, -1, anna, gone.signal));
    const staying = await follow(world.chat.stream(id, -1, anna, never));
    gone.abort();
    expect((await leaving.all).some(({ type }) => type === 'end')).toBe(false);
    gate.open();
    const events = await staying.all;
    assertGapless(events);
    expect(textOf(events)).toBe('ab');
  });

  it('gives the rest from the database when the live stream is forgotten under a slow reader', async () => {
    world.server.script({ tokens: ['a', 'b', 'c', 'd'] });
    const tokenStream = new MemoryTokenStream({ clock: systemClock });
    const { chat } = await world.another({ tokenStream });
    const { answers } = await chat.send({ deploymentIds: [world.deployment.view.id], message: 'x' }, anna, never);
    const id = answers[0]!.id;
    const reader = (await chat.stream(id, -1, anna, never))[Symbol.asyncIterator]();
    const read: ChatStreamEvent[] = [];
    while (read.length < 3) {
      const next = await reader.next();
      if (!next.done) read.push(next.value);
    }
    await chat.waitForEnd(id, anna, never);
    tokenStream.close();
    const events = [...read, ...(await collect({ [Symbol.asyncIterator]: () => reader }))];
    assertGapless(events);
    expect(textOf(events)).toBe('abcd');
  });

  it('waits for a deployment that is starting, and can be stopped meanwhile', async () => {
    const started = createGate();
    const { view, target } = world.deployment;
    const service = await world.another({
      deployments: {
        find: async () => ({ ...view, status: 'starting' }),
        findByName: async () => null,
        ensureReady: async (_, signal) => {
          await Promise.race([started.opened, new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))]);
          return { ...target, release: () => undefined };
        },
      },
    });
    const first = await service.chat.send({ deploymentIds: [view.id], message: 'x' }, anna, never);
    const second = await service.chat.send({ deploymentIds: [view.id], message: 'x' }, anna, never);
    expect(await service.chat.stop(first.answers[0]!.id, anna, never)).toMatchObject({ status: 'stopped', content: '', usage: null });
    started.open();
    expect(await service.chat.waitForEnd(second.answers[0]!.id, anna, never)).toMatchObject({ status: 'completed', content: 'Hello world' });
  });

  it('says so when a deployment is not ready in time', async () => {
    const service = await world.another({
      limits: { startWaitMs: 50 },
      deployments: {
        find: async () => world.deployment.view,
        findByName: async () => null,
        ensureReady: (_, signal) => new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
      },
    });
    const { answers } = await service.chat.send({ deploymentIds: [world.deployment.view.id], message: 'x' }, anna, never);
    expect(await service.chat.waitForEnd(answers[0]!.id, anna, never)).toMatchObject({ status: 'failed', error: { code: 'TIMEOUT', message: 'The deployment was not ready in time.' } });
  });

  it('loads a deployment that nobody used, and lets go of it with the end of each answer', async () => {
    const deployment = world.addDeployment({ status: 'stopped', desiredStatus: 'running', config: { keepAliveSeconds: 60 } });
    const { answers } = await world.chat.send({ deploymentIds: [deployment.view.id], message: 'x' }, anna, never);
    expect(await world.chat.waitForEnd(answers[0]!.id, anna, never)).toMatchObject({ status: 'completed' });
    await eventually('it was let go of', () => deployment.releases.length === 1);
    deployment.lose(new AppError('CRASHED', 'It has crashed.'));
    const second = await world.chat.send({ deploymentIds: [deployment.view.id], message: 'x' }, anna, never);
    await world.chat.waitForEnd(second.answers[0]!.id, anna, never);
    await eventually('it was let go of again', () => deployment.releases.length === 2);
    expect(deployment.releases).toEqual(['succeeded', 'failed']);
    const pinned = world.addDeployment({ status: 'stopped', desiredStatus: 'running' });
    await expect(world.chat.send({ deploymentIds: [pinned.view.id], message: 'x' }, anna, never)).rejects.toMatchObject({ code: 'INVALID_STATE' });
  });

  it('stores an answer whole although the database cuts every connection while it is written', async () => {
    const gate = createGate();
    world.server.script({ tokens: ['before ', 'after'], holdBefore: { index: 1, gate } });
    const { answers } = await world.chat.send({ deploymentIds: [world.deployment.view.id], message: 'x' }, anna, never);
    const id = answers[0]!.id;
    await eventually('the first words', async () => (await world.chat.findMessage(id, anna))?.content === 'before ');
    await withSqlClient(world.database.url, (client) => client.execute('select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()'));
    gate.open();
    const stored = await eventually('the end', async () => {
      const row = await world.chat.findMessage(id, anna).catch(() => null);
      return row?.status === 'streaming' ? null : row;
    });
    expect(stored).toMatchObject({ status: 'completed', content: 'before after' });
  });

  it('stops an answer that nobody reads where that is wished, and none that is read', async () => {
    const service = await world.another({ limits: { stopUnreadAfterMs: 400 } });
    world.server.fallback({ tokens: ['kept', ' lost'], holdBefore: { index: 1, gate: createGate() } });
    const begin = async () => (await service.chat.send({ deploymentIds: [world.deployment.view.id], message: 'x' }, anna, never)).answers[0]!.id;
    const leaving = new AbortController();
    const read = await begin();
    const reader = await follow(service.chat.stream(read, -1, anna, leaving.signal));
    // Begun later: when this one was ended for want of readers, the other one would have been before.
    const unread = await begin();
    const statusOf = async (id: string) => (await service.chat.findMessage(id, anna))?.status;
    await eventually('the unread answer to be stopped', async () => (await statusOf(unread)) === 'stopped', 20_000);
    expect(await service.chat.findMessage(unread, anna)).toMatchObject({ content: 'kept', finishReason: 'stopped' });
    expect(await statusOf(read)).toBe('streaming');
    leaving.abort();
    await reader.all;
    await eventually('the other one to be stopped after its reader', async () => (await statusOf(read)) === 'stopped', 20_000);
  });

  it('counts readers in other processes among those who read', async () => {
    // Long enough that a busy machine does not keep the reader's word from being heard in time.
    const own = { events: shared.events, tokenStream: shared.tokenStream, limits: { stopUnreadAfterMs: 3_000 } };
    const [maker, other] = [await world.another(own), await world.another(own)];
    await maker.module.start();
    world.server.fallback({ tokens: ['kept', ' lost'], holdBefore: { index: 1, gate: createGate() } });
    const begin = async () => (await maker.chat.send({ deploymentIds: [world.deployment.view.id], message: 'x' }, anna, never)).answers[0]!.id;
    const leaving = new AbortController();
    const read = await begin();
    const reader = await follow(other.chat.stream(read, -1, anna, leaving.signal));
    // Begun later: when this one was ended for want of readers, the other one would have been before.
    const unread = await begin();
    const statusOf = async (id: string) => (await maker.chat.findMessage(id, anna))?.status;
    await eventually('the unread answer to be stopped', async () => (await statusOf(unread)) === 'stopped', 20_000);
    expect(await statusOf(read)).toBe('streaming');
    leaving.abort();
    await reader.all;
    await eventually('the other one to be stopped after its reader', async () => (await statusOf(read)) === 'stopped', 20_000);
  });

  it('notices when its answer was ended by another process, and frees the slot', async () => {
    const gate = createGate();
    world.server.script({ tokens: ['a', 'b'], holdBefore: { index: 1, gate } });
    const { answers } = await world.chat.send({ deploymentIds: [world.deployment.view.id], message: 'x' }, anna, never);
    const id = answers[0]!.id;
    const reader = await follow(world.chat.stream(id, -1, anna, never));
    await eventually('the request', () => world.server.active === 1);
    expect(await (await world.another()).chat.stop(id, anna, never)).toMatchObject({ status: 'stopped' });
    // Nothing new to save yet: the next piece makes it look.
    gate.open();
    expect((await reader.all).at(-1)).toMatchObject({ type: 'end', status: 'stopped' });
    expect(await world.chat.findMessage(id, anna)).toMatchObject({ status: 'stopped' });
  });
});
