import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createGate } from '../../src/shared/async.ts';
import { openTerminal, runCommand, type CommandOptions, type Terminal } from '../support/command-line.ts';
import { startCompletionsServer, type CompletionsServer } from '../support/completions-server.ts';
import { createTemporaryFolder, type TemporaryFolder } from '../support/data-dir.ts';
import { startService, type ServiceProcess } from '../support/service-process.ts';

const arrowUp = '\u001B[A';
const interrupt = '\u0003';

describe('chat at a terminal', () => {
  let engine: CompletionsServer;
  let folder: TemporaryFolder;
  let service: ServiceProcess;
  let options: CommandOptions;
  let terminal: Terminal | null = null;
  /** How much of the screen was looked at. */
  let seen = 0;

  beforeAll(async () => {
    engine = await startCompletionsServer();
    folder = await createTemporaryFolder('cli-chat');
    options = { dataDir: folder.path };
    service = await startService(options);
    expect(await runCommand(['start', '--runtime', 'remote', '--base-url', `${engine.baseUrl}/v1`, '--name', 'talk'], options)).toMatchObject({ code: 0 });
  }, 90_000);

  afterAll(async () => {
    if (service.isAlive()) await service.end('SIGTERM');
    await engine.close();
    await folder.remove();
  }, 60_000);

  beforeEach(() => engine.reset());
  afterEach(() => {
    terminal?.kill();
    terminal = null;
  });

  async function open(...args: string[]): Promise<Terminal> {
    terminal = openTerminal(['chat', 'talk', ...args], options);
    seen = await terminal.see('>>> ');
    return terminal;
  }

  async function see(text: string): Promise<void> {
    seen = (await terminal?.see(text, seen)) ?? seen;
  }

  /** Types the line and waits for the next prompt. */
  async function enter(line: string, prompt = '>>> '): Promise<void> {
    terminal?.type(`${line}\r`);
    await see('\n');
    await see(prompt);
  }

  const said = (): unknown[] => engine.requests.map(({ body }) => body['messages']);

  it('takes messages of several lines and settings, and says what cannot be set', async () => {
    await open();
    await enter('/set temperature 0.25');
    await enter('/set system Be brief.');
    await enter('"""', '... ');
    await enter('first line', '... ');
    await enter('second line', '... ');
    await enter('"""');
    expect(engine.requests[0]?.body).toMatchObject({ temperature: 0.25, messages: [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'first line\nsecond line' }] });
    await enter('/set system Be long.');
    await enter('/set temperature default');
    await enter('one\\', '... ');
    await enter('two');
    expect(engine.requests[1]?.body).toMatchObject({ messages: [{ role: 'system', content: 'Be long.' }, {}, {}, { role: 'user', content: 'one\ntwo' }] });
    expect(engine.requests[1]?.body).not.toHaveProperty('temperature', 0.25);
    terminal?.type('/set colour red\r');
    await see('VALIDATION_FAILED: There is no setting colour');
    terminal?.type('/set\r');
    await see('"Be long."');
    terminal?.type('/dance\r');
    await see('There is no /dance');
    expect(engine.requests).toHaveLength(2);
  }, 60_000);

  it('writes the conversation to a file, and never over another one', async () => {
    await open();
    terminal?.type('/save early.md\r');
    await see('Nothing was said yet');
    await see('>>> ');
    await enter('Keep this');
    await enter('/save talk.md');
    expect(await readFile(path.join(folder.path, 'talk.md'), 'utf8')).toContain('Keep this');
    terminal?.type('/save talk.md\r');
    await see('exists already');
    await see('>>> ');
    await enter('/save talk.json');
    expect(await readFile(path.join(folder.path, 'talk.json'), 'utf8')).toContain('"Keep this"');
  }, 60_000);

  it('stops the answer at Ctrl-C and goes on, leaves a message that was begun, and ends at the next one', async () => {
    engine.script({ tokens: ['begun', ' never'], holdBefore: { index: 1, gate: createGate() } });
    const { ended } = await open();
    terminal?.type('Go on\r');
    await see('begun');
    terminal?.type(interrupt);
    await see('(stopped)');
    await see('>>> ');
    await enter('"""', '... ');
    await enter('half', '... ');
    terminal?.type(interrupt);
    await see('>>> ');
    await enter('whole');
    expect(said().at(-1)).toMatchObject([{ content: 'Go on' }, { content: 'begun' }, { content: 'whole' }]);
    terminal?.type(interrupt);
    expect(await ended).toBe(130);
  }, 60_000);

  it('remembers what was typed at earlier prompts, for its user alone', async () => {
    const { ended } = await open();
    await enter('Remember me');
    terminal?.type('/bye\r');
    expect(await ended).toBe(0);
    expect((await stat(path.join(folder.path, 'chat-history'))).mode & 0o777).toBe(0o600);

    await open();
    terminal?.type(arrowUp);
    await see('/bye');
    terminal?.type(arrowUp);
    await see('Remember me');
    await enter('');
    expect(said().at(-1)).toEqual([{ role: 'user', content: 'Remember me' }]);
  }, 60_000);
});
