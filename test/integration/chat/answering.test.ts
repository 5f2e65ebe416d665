import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { StateEvent } from '../../../src/shared/persistence/state-event.entity.ts';
import { createGate } from '../../../src/shared/async.ts';
import { ask, assertGapless, collect, createChatWorld, never, principalOf, textOf, type ChatWorld } from '../../support/chat-world.ts';
import { eventually } from '../../support/eventually.ts';

const anna = principalOf('anna');
let world: ChatWorld;
beforeAll(async () => {
  world = await createChatWorld();
});
afterAll(async () => {
  await world.close();
});
beforeEach(() => {
  world.server.reset();
});

describe('an answer', () => {
  it('comes token by token in order and is stored as it was streamed', async () => {
    const tokens = ['One', ' two', ' three', ' 🙂', ' 四'];
    world.server.script({ tokens, tokenMs: 2 });
    const sent = await world.chat.send({ deploymentIds: [world.deployment.view.id], message: 'Count' }, anna, never);
    const [answer] = sent.answers;
    expect(answer).toMatchObject({ status: 'streaming', content: '', role: 'assistant', parentId: sent.userMessage.id, deploymentId: world.deployment.view.id, modelId: 'huggingface:org/model' });
    const events = await collect(world.chat.stream(answer!.id, -1, anna, never));
    assertGapless(events);
    expect(events.map((event) => event.type === 'token' && event.text).filter(Boolean)).toEqual(tokens);
    const stored = await world.chat.waitForEnd(answer!.id, anna, never);
    expect(stored).toMatchObject({ status: 'completed', content: tokens.join(''), finishReason: 'stop', error: null, usage: { promptTokens: 7, completionTokens: 5 } });
    expect(stored.usage?.timeToFirstTokenMs).toBeGreaterThanOrEqual(0);
    expect(stored.usage?.tokensPerSecond).toBeGreaterThan(0);
    expect(events.at(-1)).toEqual({
      type: 'end',
      messageId: answer!.id,
      deploymentId: world.deployment.view.id,
      index: 4,
      status: 'completed',
      usage: stored.usage,
      finishReason: 'stop',
      error: null,
    });
  });

  it('is asked for in OpenAI words, with only the parameters that were given and the key of the deployment', async () => {
    const session = await world.chat.createSession(
      { deploymentIds: [world.deployment.view.id], systemPrompt: 'Be brief.', parameters: { temperature: 0.2, topK: 40 } },
      anna,
      never,
    );
    const { answer } = await ask(world, { sessionId: session.id, message: 'Hi', parameters: { temperature: 1, maxTokens: 16, stop: ['\n'], seed: 3 } }, anna);
    expect(answer.parameters).toEqual({ temperature: 1, topK: 40, maxTokens: 16, stop: ['\n'], seed: 3 });
    const [{ body, headers }] = world.server.requests as unknown as [{ body: unknown; headers: Record<string, string> }];
    expect(body).toEqual({
      model: world.deployment.target.model,
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'Hi' },
      ],
      temperature: 1,
      top_k: 40,
      max_tokens: 16,
      stop: ['\n'],
      seed: 3,
      stream: true,
      stream_options: { include_usage: true },
    });
    expect(headers['authorization']).toBe('Bearer engine-key');
  });

  it('is asked for with the branch that leads to it, and nothing of the other branches', async () => {
    const deploymentIds = [world.deployment.view.id];
    world.server.script({ tokens: ['A1'] }, { tokens: ['A2'] }, { tokens: ['A1 again'] }, { tokens: ['A3'] });
    const first = await ask(world, { deploymentIds, message: 'Q1' }, anna);
    const { sessionId } = first;
    await ask(world, { sessionId, message: 'Q2' }, anna);
    const again = await world.chat.regenerate(first.answer.id, undefined, anna, never);
    await world.chat.waitForEnd(again.answers[0]!.id, anna, never);
    expect(again.userMessage.id).toBe(first.answer.parentId);
    await ask(world, { sessionId, message: 'Q3', parentId: again.answers[0]!.id }, anna);
    expect(world.server.requests.at(-1)?.body['messages']).toEqual([
      { role: 'user', content: 'Q1' },
      { role: 'assistant', content: 'A1 again' },
      { role: 'user', content: 'Q3' },
    ]);
  });

  it('goes on when nobody reads it, and after its reader has left', async () => {
    const gate = createGate();
    world.server.script({ tokens: ['a', 'b', 'c'], holdBefore: { index: 1, gate } });
    const { answers } = await world.chat.send({ deploymentIds: [world.deployment.view.id], message: 'x' }, anna, never);
    const id = answers[0]!.id;
    for await (const event of await world.chat.stream(id, -1, anna, never)) if (event.type === 'token') break;
    gate.open();
    expect(await world.chat.waitForEnd(id, anna, never)).toMatchObject({ status: 'completed', content: 'abc' });
  });

  it('can be joined late and at every position, live and after its end, with no piece lost or doubled', async () => {
    const tokens = Array.from({ length: 40 }, (_, index) => `t${index} `);
    world.server.script({ tokens, tokenMs: 1 });
    const { answers } = await world.chat.send({ deploymentIds: [world.deployment.view.id], message: 'x' }, anna, never);
    const id = answers[0]!.id;
    const readers = tokens.map(async (_, dropAfter) => {
      const seen: string[] = [];
      let position = -1;
      for await (const event of await world.chat.stream(id, -1, anna, never)) {
        if (event.type !== 'token') continue;
        seen.push(event.text);
        position = event.index;
        if (position === dropAfter) break;
      }
      const rest = await collect(world.chat.stream(id, position, anna, never));
      expect(rest[0]).toMatchObject({ type: 'start', index: position });
      assertGapless(rest, position);
      return seen.join('') + textOf(rest);
    });
    const texts = await Promise.all(readers);
    const stored = await world.chat.waitForEnd(id, anna, never);
    expect(stored.content).toBe(tokens.join(''));
    expect(new Set(texts)).toEqual(new Set([stored.content]));
    // Another process has no live stream of it: the same positions come from the database.
    const elsewhere = await world.another();
    for (const after of [-1, 0, 17, 38, 39, 500]) {
      const events = await collect(elsewhere.chat.stream(id, after, anna, never));
      assertGapless(events, after);
      expect(textOf(events)).toBe(tokens.slice(after + 1).join(''));
      expect(events.at(-1)).toMatchObject({ type: 'end', index: 39, status: 'completed' });
    }
  });

  it('keeps characters whole when the engine cuts them in two, and never stores what PostgreSQL cannot', async () => {
    world.server.script({ tokens: ['x\ud83d', '\ude42y', 'nul\0', 'lone\ud800', '!'] });
    const { answer } = await ask(world, { deploymentIds: [world.deployment.view.id], message: 'x' }, anna);
    expect(answer).toMatchObject({ status: 'completed', content: 'x🙂ynul\ufffdlone\ufffd!' });
    expect(textOf(await collect(world.chat.stream(answer.id, -1, anna, never)))).toBe(answer.content);
  });

  it('is stored while it is written, at most a second behind', async () => {
    const gate = createGate();
    world.server.script({ tokens: ['early ', 'late'], holdBefore: { index: 1, gate } });
    const { answers } = await world.chat.send({ deploymentIds: [world.deployment.view.id], message: 'x' }, anna, never);
    const id = answers[0]!.id;
    await eventually('the first words in the database', async () => (await world.chat.findMessage(id, anna))?.content === 'early ', 1_500);
    gate.open();
    expect(await world.chat.waitForEnd(id, anna, never)).toMatchObject({ content: 'early late' });
  });

  it('writes each change of its state once', async () => {
    const { answer } = await ask(world, { deploymentIds: [world.deployment.view.id], message: 'x' }, anna);
    const history = await world.database.em().find(StateEvent, { subjectId: answer.id }, { orderBy: { id: 'asc' } });
    expect(history.map(({ fromState, toState }) => [fromState, toState])).toEqual([
      [null, 'streaming'],
      ['streaming', 'completed'],
    ]);
  });
});

describe('several deployments', () => {
  it('answer one message side by side, each with its own text', async () => {
    const other = world.addDeployment();
    const gate = createGate();
    world.server.scriptBy(({ body }) => ({ tokens: [`I am ${String(body['model'])}`], ...(body['model'] === other.target.model ? { holdBefore: { index: 0, gate } } : {}) }));
    const sent = await world.chat.send({ deploymentIds: [world.deployment.view.id, other.view.id], message: 'Who?' }, anna, never);
    expect(sent.answers.map(({ parentId, deploymentId }) => ({ parentId, deploymentId }))).toEqual([
      { parentId: sent.userMessage.id, deploymentId: world.deployment.view.id },
      { parentId: sent.userMessage.id, deploymentId: other.view.id },
    ]);
    const [first, second] = sent.answers;
    // The first ends although the second has not begun.
    expect(await world.chat.waitForEnd(first!.id, anna, never)).toMatchObject({ content: `I am ${world.deployment.target.model}` });
    gate.open();
    expect(await world.chat.waitForEnd(second!.id, anna, never)).toMatchObject({ content: `I am ${other.target.model}` });
  });

  it('are asked again when the question is edited, in a branch of its own', async () => {
    const other = world.addDeployment();
    const sent = await world.chat.send({ deploymentIds: [world.deployment.view.id, other.view.id], message: 'Frist' }, anna, never);
    for (const { id } of sent.answers) await world.chat.waitForEnd(id, anna, never);
    const edited = await world.chat.edit(sent.userMessage.id, 'First', anna, never);
    expect(edited.userMessage).toMatchObject({ content: 'First', parentId: sent.userMessage.parentId, status: 'completed' });
    expect(edited.answers.map(({ deploymentId }) => deploymentId)).toEqual([world.deployment.view.id, other.view.id]);
    for (const { id } of edited.answers) await world.chat.waitForEnd(id, anna, never);
    expect(world.server.requests.at(-1)?.body['messages']).toEqual([{ role: 'user', content: 'First' }]);
  });

  it('make 50 answers at once, each whole and in order', async () => {
    const three = [world.deployment, world.addDeployment(), world.addDeployment()];
    const tokens = Array.from({ length: 50 }, (_, index) => `${index},`);
    world.server.fallback({ tokens, tokenMs: 10 });
    const answers = await Promise.all(
      Array.from({ length: 50 }, async (_, index) => {
        const sent = await world.chat.send({ deploymentIds: [three[index % 3]!.view.id], message: `chat ${index}` }, anna, never);
        const events = await collect(world.chat.stream(sent.answers[0]!.id, -1, anna, never));
        assertGapless(events);
        return { text: textOf(events), stored: await world.chat.waitForEnd(sent.answers[0]!.id, anna, never) };
      }),
    );
    for (const { text, stored } of answers) {
      expect(text).toBe(tokens.join(''));
      expect(stored).toMatchObject({ status: 'completed', content: text });
    }
  });
});
