import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { ChatMessageView } from '../../../src/domains/chat/types.ts';
import { StopReason } from '../../../src/shared/abort.ts';
import { createGate, sleep, type Gate } from '../../../src/shared/async.ts';
import type { Clock } from '../../../src/shared/clock.ts';
import { AppError } from '../../../src/shared/errors.ts';
import { systemClock } from '../../../src/infrastructure/system-clock.ts';
import { createPostgresOrm } from '../../../src/infrastructure/database/orm.ts';
import { entities } from '../../../src/infrastructure/database/entities.ts';
import { ask, assertGapless, collect, createChatWorld, follow, never, principalOf, textOf, type ChatWorld } from '../../support/chat-world.ts';
import { eventually } from '../../support/eventually.ts';
import { silentLogger } from '../../support/silent-logger.ts';

const anna = principalOf('anna');
const limits = { busyWaitMs: 1_200, eventCharsMax: 10_000, answerBytesMax: 5_000 };
let world: ChatWorld;
let gates: Gate[] = [];
beforeAll(async () => {
  world = await createChatWorld({ limits });
});
afterAll(async () => {
  await world.close();
});
beforeEach(() => {
  for (const gate of gates) gate.open();
  gates = [];
  world.server.reset();
});

function gate(): Gate {
  const made = createGate();
  gates.push(made);
  return made;
}

async function askIt(message = 'x'): Promise<ChatMessageView> {
  return (await ask(world, { deploymentIds: [world.deployment.view.id], message }, anna)).answer;
}

/** Sends, and resolves when the first piece has reached a reader. */
async function begin(of: { chat: ChatWorld['chat'] } = world, deploymentId = world.deployment.view.id): Promise<{ id: string; sessionId: string }> {
  const { answers, session } = await of.chat.send({ deploymentIds: [deploymentId], message: 'x' }, anna, never);
  const id = answers[0]!.id;
  for await (const event of await of.chat.stream(id, -1, anna, never)) if (event.type === 'token') break;
  return { id, sessionId: session.id };
}

describe('stop', () => {
  it('keeps the text, ends the stream for every reader and frees the slot of the engine', async () => {
    world.server.script({ tokens: ['kept', ' lost'], holdBefore: { index: 1, gate: gate() } });
    const before = world.server.abandoned;
    const { id } = await begin();
    const reader = await follow(world.chat.stream(id, -1, anna, never));
    const stopped = await world.chat.stop(id, anna, never);
    expect(stopped).toMatchObject({ status: 'stopped', content: 'kept', finishReason: 'stopped', error: null, usage: { promptTokens: null, completionTokens: 1 } });
    await eventually('the connection to the engine to be closed', () => world.server.abandoned === before + 1, 500);
    const events = await reader.all;
    expect(textOf(events)).toBe('kept');
    expect(events.at(-1)).toMatchObject({ type: 'end', status: 'stopped', finishReason: 'stopped' });
  });

  it('works before the first token, and answers an ended message as it is', async () => {
    world.server.script({ hang: true });
    const { answers } = await world.chat.send({ deploymentIds: [world.deployment.view.id], message: 'x' }, anna, never);
    await eventually('the request', () => world.server.requests.length === 1);
    expect(await world.chat.stop(answers[0]!.id, anna, never)).toMatchObject({ status: 'stopped', content: '' });
    expect(await world.chat.stop(answers[0]!.id, anna, never)).toMatchObject({ status: 'stopped', content: '' });
    const done = await askIt();
    expect(await world.chat.stop(done.id, anna, never)).toEqual(done);
  });

  it('leaves a session that can be talked to further, without the unsaid', async () => {
    world.server.script({ hang: true }, { tokens: ['Yes'] });
    const { answers, session } = await world.chat.send({ deploymentIds: [world.deployment.view.id], message: 'First' }, anna, never);
    await eventually('the request', () => world.server.requests.length === 1);
    await world.chat.stop(answers[0]!.id, anna, never);
    await ask(world, { sessionId: session.id, message: 'Second' }, anna);
    expect(world.server.requests.at(-1)?.body['messages']).toEqual([{ role: 'user', content: 'First\n\nSecond' }]);
  });
});

describe('a fault of the engine', () => {
  const notAnAnswer = 'The model server sent something that is not an answer.';
  it.each([
    ['cuts the connection', { tokens: ['a', 'b', 'c'], cutAfter: 2 }, { content: 'ab', error: { code: 'RUNTIME_UNAVAILABLE' } }],
    ['sends no JSON', { tokens: ['a', 'b'], inject: { after: 1, raw: 'data: {broken\n\n' } }, { content: 'a', error: { code: 'RUNTIME_UNAVAILABLE' } }],
    ['sends an event without end', { tokens: ['a', 'b'], inject: { after: 1, raw: `data: ${'x'.repeat(200_000)}` } }, { content: 'a', error: { code: 'RUNTIME_UNAVAILABLE' } }],
    ['reports an error within the stream', { tokens: ['a', 'b'], inject: { after: 1, raw: 'data: {"error":{"message":"out of memory"}}\n\n' } }, { content: 'a', error: { code: 'RUNTIME_UNAVAILABLE', message: 'The model server refused the request: out of memory' } }],
    ['refuses with 500', { refuse: { status: 500, body: { error: { message: 'template failed' } } } }, { content: '', error: { code: 'RUNTIME_UNAVAILABLE', message: 'The model server refused the request (500): template failed' } }],
    ['refuses with a page of HTML', { refuse: { status: 500, body: '<html>' } }, { content: '', error: { code: 'RUNTIME_UNAVAILABLE', message: 'The model server refused the request (500)' } }],
    ['answers with a page of HTML that does not end', { answer: { contentType: 'text/html; charset=utf-8', body: '<html>', isOpen: true } }, { content: '', error: { code: 'RUNTIME_UNAVAILABLE', message: notAnAnswer } }],
    ['answers in one piece', { answer: { contentType: 'application/json', body: '{"choices":[]}' } }, { content: '', error: { code: 'RUNTIME_UNAVAILABLE', message: notAnAnswer } }],
    ['refuses a parameter', { refuse: { status: 400, body: { error: { message: 'top_k is not supported' } } } }, { content: '', error: { code: 'VALIDATION_FAILED' } }],
    ['refuses the key', { refuse: { status: 401, body: { error: { message: 'bad key sk-123' } } } }, { content: '', error: { code: 'RUNTIME_UNAVAILABLE', message: 'The model server refused the key that this deployment uses.' } }],
    ['finds the prompt too long', { refuse: { status: 400, body: { error: { message: 'too long', code: 'context_length_exceeded' } } } }, { content: '', error: { code: 'CONTEXT_EXCEEDED' } }],
    ['finds the prompt too long, in words of Text Generation Inference', { refuse: { status: 422, body: { error: 'Input validation error: `inputs` must have less than 4096 tokens. Given: 5000', error_type: 'validation' } } }, { content: '', error: { code: 'CONTEXT_EXCEEDED' } }],
    ['finds the prompt too long, in words of llama-server', { refuse: { status: 400, body: { error: { message: 'x', type: 'exceed_context_size_error' } } } }, { content: '', error: { code: 'CONTEXT_EXCEEDED' } }],
  ])('that %s ends the answer as failed with the text so far', async (_, script, expected) => {
    world.server.script(script);
    const answer = await askIt();
    expect(answer).toMatchObject({ status: 'failed', finishReason: 'error', ...expected });
    const events = await collect(world.chat.stream(answer.id, -1, anna, never));
    assertGapless(events);
    expect(textOf(events)).toBe(answer.content);
    expect(events.at(-1)).toMatchObject({ status: 'failed', error: answer.error });
    await eventually('no connection left', () => world.server.active === 0);
  });

  it.each([
    ['never answers', { hang: true }, ''],
    ['stops sending in the middle', { tokens: ['a', 'b'], holdBefore: { index: 1, gate: createGate() } }, 'a'],
  ])('that %s ends the answer after a time, as failed with the text so far', async (_, script, content) => {
    const impatient = await world.another({ limits: { stallMs: 200, firstTokenMs: 200 } });
    world.server.script(script);
    const { answer } = await ask(impatient, { deploymentIds: [world.deployment.view.id], message: 'x' }, anna);
    expect(answer).toMatchObject({ status: 'failed', content, error: { code: 'TIMEOUT' } });
    await eventually('no connection left', () => world.server.active === 0);
  });

  it.each([
    ['counts tokens that are none', 'data: {"choices":[],"usage":{"prompt_tokens":-1,"completion_tokens":null}}\n\n', 'ab'],
    ['goes on after its own end', 'data: [DONE]\n\ndata: {"choices":[{"delta":{"content":"MORE"}}]}\n\n', 'a'],
  ])('that %s is no fault of the answer', async (_, raw, content) => {
    world.server.script({ tokens: ['a', 'b'], inject: { after: 1, raw }, noUsage: true });
    expect(await askIt()).toMatchObject({ status: 'completed', content, error: null });
  });

  it('that is only being busy is waited for', async () => {
    const busy = { refuse: { status: 429, body: {}, headers: { 'retry-after': '0' } } };
    world.server.script(busy, { refuse: { status: 503, body: { error: { message: 'Loading model' } } } }, { tokens: ['now'] });
    expect(await askIt()).toMatchObject({ status: 'completed', content: 'now' });
    expect(world.server.requests).toHaveLength(3);
  });

  it('that is being busy for too long ends as OVERLOADED', async () => {
    world.server.fallback({ refuse: { status: 503, body: {} } });
    expect(await askIt()).toMatchObject({ status: 'failed', error: { code: 'OVERLOADED' } });
    world.server.script({ refuse: { status: 429, body: {}, headers: { 'retry-after': '3600' } } });
    expect(await askIt()).toMatchObject({ status: 'failed', error: { code: 'OVERLOADED' } });
  });

  it('that nobody listens any more ends as RUNTIME_UNAVAILABLE', async () => {
    const gone = world.addDeployment({}, { baseUrl: 'http://127.0.0.1:9' });
    const { answer } = await ask(world, { deploymentIds: [gone.view.id], message: 'x' }, anna);
    expect(answer).toMatchObject({ status: 'failed', error: { code: 'RUNTIME_UNAVAILABLE' } });
  });

  it('that sends more than an answer may have ends it there, as by length', async () => {
    world.server.script({ tokens: ['é'.repeat(1_500), 'é'.repeat(1_500), 'never'] });
    const answer = await askIt();
    expect(answer).toMatchObject({ status: 'completed', finishReason: 'length', content: 'é'.repeat(2_500) });
  });

  it('that finds a long history too long gets less of it, and answers', async () => {
    const { sessionId } = await ask(world, { deploymentIds: [world.deployment.view.id], message: 'old' }, anna);
    const small = world.addDeployment({}, { contextSize: 120 });
    world.server.script({ refuse: { status: 400, body: { error: { code: 'context_length_exceeded' } } } }, { refuse: { status: 400, body: { error: { code: 'context_length_exceeded' } } } }, { tokens: ['fits'] });
    const { answer } = await ask(world, { sessionId, deploymentIds: [small.view.id], message: 'new' }, anna);
    expect(answer).toMatchObject({ status: 'completed', content: 'fits', usage: { messagesLeftOut: 2 } });
    const lengths = world.server.requests.slice(1).map(({ body }) => (body['messages'] as unknown[]).length);
    expect(lengths).toEqual([3, 3, 1]);
  });
});

describe('an engine that ends', () => {
  it.each([
    ['crashed', new AppError('CRASHED', 'The engine ended with code 139.'), { status: 'failed', error: { code: 'CRASHED', message: 'The engine ended with code 139.' } }],
    ['is unhealthy', new AppError('UNHEALTHY', 'Three health checks failed.'), { status: 'failed', error: { code: 'UNHEALTHY' } }],
    ['was stopped', new StopReason('stopped'), { status: 'interrupted', error: { code: 'INTERRUPTED' } }],
  ])('because it %s is named as the reason, and the text is kept', async (_, reason, expected) => {
    const deployment = world.addDeployment();
    world.server.script({ tokens: ['kept', ' lost'], holdBefore: { index: 1, gate: gate() } });
    const { id } = await begin(world, deployment.view.id);
    deployment.lose(reason);
    expect(await world.chat.waitForEnd(id, anna, never)).toMatchObject({ content: 'kept', ...expected });
  });

  it('is named as the reason even when its socket broke first', async () => {
    const deployment = world.addDeployment();
    // Cut only once the text was read: a socket that breaks may take along what nobody has read.
    const read = gate();
    world.server.script({ tokens: ['kept', ' lost'], holdBefore: { index: 1, gate: read }, cutAfter: 1 });
    const { id } = await begin(world, deployment.view.id);
    read.open();
    await eventually('the connection to be cut', () => world.server.active === 0);
    deployment.lose(new AppError('CRASHED', 'The engine ended with code 139.'));
    expect(await world.chat.waitForEnd(id, anna, never)).toMatchObject({ status: 'failed', content: 'kept', error: { code: 'CRASHED' } });
  });
});

describe('the end of the service', () => {
  it('lets running answers end within the drain time and takes no new ones', async () => {
    const service = await world.another();
    const open = gate();
    world.server.script({ tokens: ['a', 'b'], holdBefore: { index: 1, gate: open } });
    const { id } = await begin(service);
    const stopped = service.module.stop(AbortSignal.timeout(20_000));
    await expect(service.chat.send({ deploymentIds: [world.deployment.view.id], message: 'x' }, anna, never)).rejects.toMatchObject({ code: 'SHUTTING_DOWN', retryAfterSeconds: 5 });
    open.open();
    await stopped;
    expect(await world.chat.findMessage(id, anna)).toMatchObject({ status: 'completed', content: 'ab' });
  });

  it('interrupts the others with the text they have', async () => {
    const service = await world.another();
    world.server.script({ tokens: ['a', 'b'], holdBefore: { index: 1, gate: gate() } });
    const { id } = await begin(service);
    await service.module.stop(AbortSignal.abort(new StopReason('shutdown')));
    expect(await world.chat.findMessage(id, anna)).toMatchObject({ status: 'interrupted', content: 'a', error: { code: 'INTERRUPTED' } });
  });

  it('by force leaves answers that the next start marks interrupted, with the text they had, and continues nothing', async () => {
    // Everything that this process would still write fails, as after a kill.
    const orm = await createPostgresOrm(world.database.url, { entities, migrations: [], logger: silentLogger });
    const dead = new AbortController();
    const clock: Clock = { ...systemClock, sleep: (durationMs, signal) => sleep(durationMs, signal ? AbortSignal.any([signal, dead.signal]) : dead.signal) };
    const killed = await world.another({ em: orm.em, clock });
    world.server.script({ tokens: ['stored ', 'in time', ' lost'], holdBefore: { index: 2, gate: gate() } });
    const { id, sessionId } = await begin(killed);
    await eventually('the text so far to be stored', async () => (await world.chat.findMessage(id, anna))?.content === 'stored in time', 2_000);
    dead.abort(new StopReason('shutdown'));
    await orm.close(true);

    const next = await world.another();
    const requests = world.server.requests.length;
    await next.module.start();
    // As long as it may live it may still be writing.
    expect(await next.chat.findMessage(id, anna)).toMatchObject({ status: 'streaming' });
    await world.society.die(killed.instances);
    const whole = await collect(next.chat.stream(id, -1, anna, never));
    expect(textOf(whole)).toBe('stored in time');
    expect(whole.at(-1)).toMatchObject({ type: 'end', status: 'interrupted', error: { code: 'INTERRUPTED' } });
    const events = await collect(next.chat.stream(id, 0, anna, never));
    assertGapless(events, 0);
    // How many pieces there are depends on what came from the engine together.
    expect(textOf(events)).toBe(textOf(whole.filter(({ index }) => index > 0)));
    expect(await next.chat.messages(sessionId, { limit: 10 }, anna)).toMatchObject({ items: [{ role: 'user' }, { id, status: 'interrupted', content: 'stored in time' }], total: 2 });
    expect(world.server.requests).toHaveLength(requests);
    // A second start finds nothing to do.
    await next.module.start();
    await killed.module.stop(AbortSignal.abort());
  });

  it('never marks answers of its own process', async () => {
    const service = await world.another();
    const open = gate();
    world.server.script({ tokens: ['a', 'b'], holdBefore: { index: 1, gate: open } });
    const { id } = await begin(service);
    await service.module.start();
    open.open();
    expect(await service.chat.waitForEnd(id, anna, never)).toMatchObject({ status: 'completed', content: 'ab' });
  });
});

describe('too much at once', () => {
  it('is refused before anything is stored, and possible again when an answer has ended', async () => {
    const service = await world.another({ limits: { generationsMax: 2 } });
    const open = gate();
    world.server.script({ holdBefore: { index: 0, gate: open } }, { holdBefore: { index: 0, gate: open } });
    const first = await service.chat.send({ deploymentIds: [world.deployment.view.id], message: 'x' }, anna, never);
    const second = await service.chat.send({ deploymentIds: [world.deployment.view.id], message: 'x' }, anna, never);
    const before = await world.chat.listSessions({}, { limit: 1 }, anna);
    await expect(service.chat.send({ deploymentIds: [world.deployment.view.id], message: 'x' }, anna, never)).rejects.toMatchObject({ code: 'OVERLOADED', retryAfterSeconds: 5 });
    expect((await world.chat.listSessions({}, { limit: 1 }, anna)).total).toBe(before.total);
    open.open();
    for (const { answers } of [first, second]) await service.chat.waitForEnd(answers[0]!.id, anna, never);
    const { answer } = await ask(service, { deploymentIds: [world.deployment.view.id], message: 'x' }, anna);
    expect(answer.status).toBe('completed');
  });

  it('gives every place back after refusals and faults', async () => {
    const service = await world.another({ limits: { generationsMax: 1, busyWaitMs: 1 } });
    const stopped = world.addDeployment({ status: 'stopped', desiredStatus: 'stopped' });
    for (let round = 0; round < 3; round += 1) {
      await expect(service.chat.send({ deploymentIds: [stopped.view.id], message: 'x' }, anna, never)).rejects.toMatchObject({ code: 'INVALID_STATE' });
      await expect(service.chat.send({ deploymentIds: [world.deployment.view.id], message: 'x' }, anna, AbortSignal.abort(new StopReason('caller_gone')))).rejects.toMatchObject({ why: 'caller_gone' });
      world.server.script({ refuse: { status: 500, body: {} } });
      expect((await ask(service, { deploymentIds: [world.deployment.view.id], message: 'x' }, anna)).answer.status).toBe('failed');
    }
  });
});
