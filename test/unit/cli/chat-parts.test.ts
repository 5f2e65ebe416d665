import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ChatSettings } from '../../../src/cli/chat-settings.ts';
import { InputHistory } from '../../../src/cli/input-history.ts';
import { MessageLines } from '../../../src/cli/message-lines.ts';
import { createTemporaryFolder, type TemporaryFolder } from '../../support/data-dir.ts';

describe('a message at the prompt', () => {
  const take = (...lines: string[]): (string | null)[] => {
    const message = new MessageLines();
    return lines.map((line) => message.take(line));
  };

  it.each([
    ['is one line', ['Hello'], ['Hello']],
    ['goes on after a backslash', ['one\\', 'two\\', 'three', 'four'], [null, null, 'one\ntwo\nthree', 'four']],
    ['is everything between two fences', ['"""', 'one', '', '/bye', 'two', '"""', 'next'], [null, null, null, null, null, 'one\n\n/bye\ntwo', 'next']],
    ['may begin and end on the lines of the fences', ['"""one', 'two"""', '"""all"""'], [null, 'one\ntwo', 'all']],
    ['keeps fences that stand inside a line', ['say """ please'], ['say """ please']],
  ])('%s', (_what, lines, messages) => {
    expect(take(...lines)).toEqual(messages);
  });

  it('is left when it is dropped, and whole as far as it came at the end of input', () => {
    const message = new MessageLines();
    message.take('"""one');
    expect(message.isOpen).toBe(true);
    message.drop();
    expect({ isOpen: message.isOpen, next: message.take('two') }).toEqual({ isOpen: false, next: 'two' });
    message.take('three\\');
    expect(message.rest()).toBe('three');
  });
});

describe('settings of a conversation', () => {
  it('begin with what the command line gave, and are changed and taken back by their names', () => {
    const settings = new ChatSettings({ temperature: '0.5', system: 'Be brief.' });
    settings.set('max_tokens', '12');
    settings.set('stop', String.raw`\n`);
    expect(settings.parameters).toEqual({ temperature: 0.5, maxTokens: 12, stop: ['\n'] });
    expect(settings.list()).toEqual(expect.arrayContaining([['temperature', '0.5'], ['top_p', 'default'], ['system', '"Be brief."']]));
    for (const name of ['temperature', 'max_tokens', 'stop', 'system']) settings.set(name, 'default');
    expect({ parameters: settings.parameters, system: settings.system }).toEqual({ parameters: null, system: null });
  });

  it.each([['colour', 'red'], ['temperature', 'warm'], ['seed', ' '], ['constructor', '1']])('refuse %s = %s and stay as they were', (name, value) => {
    const settings = new ChatSettings();
    expect(() => settings.set(name, value)).toThrow(expect.objectContaining({ code: 'VALIDATION_FAILED' }));
    expect(settings.parameters).toBeNull();
  });
});

describe('the history of a prompt', () => {
  let folder: TemporaryFolder;
  let file: string;

  beforeEach(async () => {
    folder = await createTemporaryFolder('history');
    file = path.join(folder.path, 'chat-history');
  });
  afterEach(() => folder.remove());

  it('comes back newest first, readable by its user alone, without doubles in a row and without what cannot be a line', async () => {
    const history = new InputHistory(file);
    for (const line of ['one', 'two', 'two', '   ', 'x'.repeat(3_000), 'a\u001B[31m\nb']) history.add(line);
    await history.saved();
    expect(await new InputHistory(file).load()).toEqual(['two', 'one']);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  });

  it('keeps what another prompt wrote meanwhile, and no more than its bound', async () => {
    const [one, other] = [new InputHistory(file), new InputHistory(file)];
    one.add('from one');
    await one.saved();
    other.add('from the other');
    await other.saved();
    expect(await one.load()).toEqual(['from the other', 'from one']);
    for (let index = 0; index < 520; index += 1) one.add(`line ${index}`);
    await one.saved();
    expect((await readFile(file, 'utf8')).trimEnd().split('\n')).toHaveLength(500);
  });

  it('is no reason to fail where it cannot be kept', async () => {
    const history = new InputHistory(path.join(folder.path, 'missing', 'chat-history'));
    history.add('one');
    await history.saved();
    expect(await history.load()).toEqual([]);
  });
});
