import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { runCommand, type Finished } from '../support/command-line.ts';
import { createTemporaryFolder, type TemporaryFolder } from '../support/data-dir.ts';
import { startService, type ServiceProcess } from '../support/service-process.ts';

let folder: TemporaryFolder;
let service: ServiceProcess;
beforeAll(async () => {
  folder = await createTemporaryFolder('import-chats');
  service = await startService({ dataDir: folder.path });
}, 90_000);
afterAll(async () => {
  if (service.isAlive()) await service.end('SIGTERM');
  await folder.remove();
}, 60_000);

type Imported = { items: { session_id: string; title: string; message_count: number }[]; skipped_count: number; failed: { title: string; code: string }[] };

async function importFile(name: string, content: string): Promise<Finished & { imported: () => Imported }> {
  const file = path.join(folder.path, name);
  await writeFile(file, content);
  const result = await runCommand(['import-chats', file, '--json'], { dataDir: folder.path });
  return { ...result, imported: () => JSON.parse(result.stdout) as Imported };
}

async function request(route: string, body: object, key = service.key): Promise<{ status: number; text: string }> {
  const response = await fetch(`${service.url}${route}`, { method: 'POST', headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' }, body: JSON.stringify(body) });
  return { status: response.status, text: await response.text() };
}

const importing = 'mutation ($input: ImportChatSessionInput!) { importChatSession(input: $input) { __typename } }';
const sentence = 'A "quoted" line\nand \\ another one, with é and 🙂. ';

/** As ChatGPT writes one. */
function chatGpt(title: string, said: string): object {
  const message = (role: string, text: string): object => ({ author: { role }, create_time: 1_700_000_000, content: { content_type: 'text', parts: [text] } });
  return { title, create_time: 1_700_000_000, mapping: { a: { parent: null, message: message('user', said) }, b: { parent: 'a', message: message('assistant', said) } } };
}

it('brings a conversation of some MiB back that was exported here', async () => {
  const first = await importFile('years.json', JSON.stringify([chatGpt('Years', sentence.repeat(15_000)), chatGpt('Days', 'Hi')]));
  expect([first.code, first.imported()]).toMatchObject([0, { items: [{ title: 'Years', message_count: 2 }, { title: 'Days', message_count: 2 }], skipped_count: 0, failed: [] }]);

  const { text } = await request(`/api/chat/export/${first.imported().items[0]?.session_id ?? ''}`, { format: 'json' });
  expect(Buffer.byteLength(text)).toBeGreaterThan(1024 * 1024);
  const again = await importFile('again.json', text);
  expect([again.code, again.imported()]).toMatchObject([0, { items: [{ title: 'Years', message_count: 2 }] }]);

  const second = await request(`/api/chat/export/${again.imported().items[0]?.session_id ?? ''}`, { format: 'json' });
  const contents = (exported: string): string[] => (JSON.parse(exported) as { messages: { content: string }[] }).messages.map(({ content }) => content);
  expect(contents(second.text)).toEqual(contents(text));
}, 60_000);

it('takes the others of a list where one conversation is refused, and names it', async () => {
  const list = [chatGpt('First', 'a'), chatGpt('Too long', 'x'.repeat(1024 * 1024 + 1)), chatGpt('Third', 'c')];
  const { code, stderr, imported } = await importFile('list.json', JSON.stringify(list));

  expect(imported()).toMatchObject({ items: [{ title: 'First' }, { title: 'Third' }], failed: [{ title: 'Too long', code: 'VALIDATION_FAILED' }] });
  expect(code).toBe(1);
  expect(stderr).toContain('2 conversations imported');
}, 60_000);

it('says what is wrong with a file that holds no conversations, and changes nothing', async () => {
  const count = async (): Promise<unknown> => (JSON.parse((await request('/graphql', { query: '{ chatSessions { totalCount } }' })).text) as { data: unknown }).data;
  const before = await count();
  for (const content of ['no json', '{"a":1}', 'null']) expect(await importFile('bad.json', content)).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('VALIDATION_FAILED') });
  expect(await runCommand(['import-chats', path.join(folder.path, 'missing.json')], { dataDir: folder.path })).toMatchObject({ code: 4 });
  expect(await count()).toEqual(before);
}, 60_000);

it('takes a long body for nothing else, and from nobody who may not import', async () => {
  const created = JSON.parse((await request('/graphql', { query: 'mutation { createApiKey(input: { name: "v", owner: "v", role: VIEWER }) { ... on CreateApiKeyPayload { secret } } }' })).text) as { data: { createApiKey: { secret: string } } };
  const long = { content: 'x'.repeat(2 * 1024 * 1024) };

  expect(await request('/graphql', { query: importing, variables: { input: long } })).toMatchObject({ status: 200, text: expect.stringContaining('is no export') });
  const refused = { status: 413, text: expect.stringContaining('PAYLOAD_TOO_LARGE') };
  expect(await request('/graphql', { query: importing, variables: { input: long } }, created.data.createApiKey.secret)).toMatchObject(refused);
  expect(await request('/graphql', { query: 'mutation ($message: String!) { sendChatMessage(input: { message: $message }) { __typename } }', variables: { message: long.content } })).toMatchObject(refused);
  expect(await request('/graphql', { query: importing, variables: { input: { content: 'x'.repeat(41 * 1024 * 1024) } } })).toMatchObject(refused);
}, 60_000);
