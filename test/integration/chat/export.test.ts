import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ExportFormat } from '../../../src/domains/chat/types.ts';
import { ask, collect, createChatWorld, never, principalOf, type ChatWorld } from '../../support/chat-world.ts';

const anna = principalOf('anna');
let world: ChatWorld;
beforeAll(async () => {
  world = await createChatWorld();
});
afterAll(async () => {
  await world.close();
});

async function read(sessionId: string, format: ExportFormat): Promise<{ text: string; fileName: string; contentType: string }> {
  const { chunks, ...file } = await world.chat.export(sessionId, format, anna, never);
  return { ...file, text: (await collect(chunks)).join('') };
}

async function makeSession(title: string): Promise<string> {
  const session = await world.chat.createSession({ title, deploymentIds: [world.deployment.view.id], systemPrompt: 'Be brief.', parameters: { topP: 0.9 } }, anna, never);
  return session.id;
}

describe('an export', () => {
  it('as JSON holds the session and every message, branches included, under a version', async () => {
    const sessionId = await makeSession('Tide tables');
    const { answer } = await ask(world, { sessionId, message: 'When? "now" 🙂' }, anna);
    const again = await world.chat.regenerate(answer.id, undefined, anna, never);
    await world.chat.waitForEnd(again.answers[0]!.id, anna, never);
    const { text, fileName, contentType } = await read(sessionId, 'json');
    expect(fileName).toBe(`chat-tide-tables-${sessionId.slice(-8)}.json`);
    expect(contentType).toBe('application/json; charset=utf-8');
    expect(JSON.parse(text)).toMatchObject({
      format: 'llm-manager.chat',
      version: 1,
      session: { session_id: sessionId, title: 'Tide tables', system_prompt: 'Be brief.', parameters: { top_p: 0.9 }, deployment_ids: [world.deployment.view.id] },
      messages: [
        { message_id: answer.parentId, parent_id: null, role: 'user', content: 'When? "now" 🙂', status: 'completed' },
        { message_id: answer.id, parent_id: answer.parentId, role: 'assistant', content: 'Hello world', usage: { prompt_tokens: 7, completion_tokens: 2 }, error: null },
        { message_id: again.answers[0]!.id, parent_id: answer.parentId },
      ],
    });
  });

  it('of a session without messages is whole, too', async () => {
    const sessionId = await makeSession('Empty');
    expect(JSON.parse((await read(sessionId, 'json')).text)).toMatchObject({ messages: [] });
    expect((await read(sessionId, 'markdown')).text).toContain('# Empty');
  });

  it('as Markdown reads like the conversation, and no message reaches beyond itself', async () => {
    const sessionId = await makeSession('A *bold*\n# title <b>');
    world.server.script({ tokens: ['Look:\n', '```js\n', 'if (a < b) <x>\n'] }, { tokens: ['# Shout\n', 'a <script>alert(1)</script> and `<kept>`'] });
    await ask(world, { sessionId, message: 'Code?' }, anna);
    await ask(world, { sessionId, message: 'More\u001b[31m?' }, anna);
    const { text, fileName, contentType } = await read(sessionId, 'markdown');
    expect(contentType).toBe('text/markdown; charset=utf-8');
    expect(fileName).toMatch(/^chat-a-bold-title-b-[0-9a-f]{8}\.md$/);
    const lines = text.split('\n');
    expect(lines.filter((line) => /^# /.test(line))).toEqual(['# A \\*bold\\* \\# title \\<b\\>']);
    expect(lines.filter((line) => /^## /.test(line))).toEqual(['## System prompt', '## 1. User', '## 2. Assistant (huggingface:org/model)', '## 3. User', '## 4. Assistant (huggingface:org/model)']);
    expect(text).toContain('```js\nif (a < b) <x>\n\n```\n');
    expect(text).toContain('### Shout\na &lt;script>alert(1)&lt;/script> and `<kept>`');
    expect(text).not.toContain('\u001b');
  });

  it('has a name that is safe in a header and on every file system', async () => {
    for (const [title, start] of [['../../etc/passwd"\r\nX: y', 'chat-etc-passwd-x-y-'], ['日本語', 'chat-'], ['Ümläute & Co', 'chat-umlaute-co-'], ['x'.repeat(200), `chat-${'x'.repeat(60)}-`]] as const) {
      const { fileName } = await read(await makeSession(title), 'json');
      expect(fileName).toMatch(/^[a-z0-9.-]+$/);
      expect(fileName.slice(0, -'00000000.json'.length)).toBe(start);
    }
  });

  it('reads a long session a few messages at a time, and not what is added meanwhile', async () => {
    const sessionId = await makeSession('Long');
    for (let index = 0; index < 20; index += 1) await ask(world, { sessionId, message: `m${index}` }, anna);
    const { chunks } = await world.chat.export(sessionId, 'json', anna, never);
    await ask(world, { sessionId, message: 'late' }, anna);
    const { messages } = JSON.parse((await collect(chunks)).join('')) as { messages: { content: string }[] };
    expect(messages).toHaveLength(40);
    expect(messages.map(({ content }) => content)).not.toContain('late');
  });

  it('does not end like a whole one when its session is deleted meanwhile', async () => {
    const sessionId = await makeSession('Short-lived');
    for (let index = 0; index < 10; index += 1) await ask(world, { sessionId, message: `m${index}` }, anna);
    const { chunks } = await world.chat.export(sessionId, 'json', anna, never);
    const iterator = chunks[Symbol.asyncIterator]();
    for (let index = 0; index < 3; index += 1) await iterator.next();
    await world.chat.deleteSession(sessionId, anna, never);
    await expect(collect({ [Symbol.asyncIterator]: () => iterator })).rejects.toMatchObject({ code: 'CHAT_SESSION_NOT_FOUND' });
  });

  it('as lines for fine-tuning has one conversation for each branch that ends in a complete answer', async () => {
    const sessionId = await makeSession('Training');
    world.server.script({ tokens: ['A1'] }, { tokens: ['A2'] }, { tokens: ['B1'] }, { tokens: ['no'], cutAfter: 1 });
    const { answer } = await ask(world, { sessionId, message: 'Q1' }, anna);
    const again = await world.chat.regenerate(answer.id, undefined, anna, never);
    await world.chat.waitForEnd(again.answers[0]!.id, anna, never);
    await ask(world, { sessionId, message: 'Q2 "quoted"\n🙂' }, anna);
    await ask(world, { sessionId, message: 'Q3' }, anna);
    const { text, fileName, contentType } = await read(sessionId, 'jsonl');
    expect([fileName.endsWith('.jsonl'), contentType]).toEqual([true, 'application/jsonl; charset=utf-8']);
    const lines = text.trimEnd().split('\n').map((line) => (JSON.parse(line) as { messages: { role: string; content: string }[] }).messages);
    expect(lines.map((messages) => messages.map(({ role, content }) => `${role[0]}:${content}`))).toEqual([
      ['s:Be brief.', 'u:Q1', 'a:A1'],
      ['s:Be brief.', 'u:Q1', 'a:A2', 'u:Q2 "quoted"\n🙂', 'a:B1'],
    ]);
  });

  it('as HTML is one page that runs and loads nothing, whatever the messages hold', async () => {
    const sessionId = await makeSession('</title><script>alert(1)</script>');
    world.server.script({ tokens: ['</pre><img src=x onerror=alert(1)>', ' & "quotes"\u001b[31m'] });
    await ask(world, { sessionId, message: '<iframe srcdoc="x">' }, anna);
    const { text, fileName, contentType } = await read(sessionId, 'html');
    expect([fileName.endsWith('.html'), contentType]).toEqual([true, 'text/html; charset=utf-8']);
    expect(text).not.toMatch(/<(script|img|iframe)|\u001b/);
    expect(text.match(/<title>/g)).toHaveLength(1);
    expect(text).toContain("default-src 'none'");
    expect(text).toContain('&lt;/pre&gt;&lt;img src=x onerror=alert(1)&gt; &amp; &quot;quotes&quot;');
    expect(text.endsWith('</html>\n')).toBe(true);
  });

  it('as text reads like the conversation and steers no terminal', async () => {
    const sessionId = await makeSession('Plain');
    world.server.script({ tokens: ['red \u001b[31m and \u202e turned'] });
    await ask(world, { sessionId, message: 'Hi' }, anna);
    const { text, fileName } = await read(sessionId, 'text');
    expect(fileName.endsWith('.txt')).toBe(true);
    expect(text).toMatch(/1\. User, .*\n\nHi\n[\s\S]*2\. Assistant \(huggingface:org\/model\), .*\n\nred \[31m and {2}turned\n/);
  });
});
