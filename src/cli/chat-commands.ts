import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { ExportFormat } from '../../schema/generated/graphql.ts';
import { AppError } from '../shared/errors.ts';
import { settingNames } from './chat-settings.ts';
import type { CommandContext } from './context.ts';
import type { Conversation } from './conversation.ts';
import { wrongUsage } from './failure.ts';

const help = [
  '/set                 the settings of this conversation',
  `/set <name> <value>  change one (${settingNames.join(', ')}); "default" takes it back`,
  '/save [file]         write the conversation to a new file: .md, .json, .jsonl, .html or .txt',
  '/new                 begin anew',
  '/bye                 end (also Ctrl-D)',
  '""" begins and ends a message of several lines; a \\ at the end of a line goes on with the next one.',
  'Ctrl-C stops the answer, and at the prompt the program.',
];

const formats: Readonly<Record<string, ExportFormat>> = { '.md': 'MARKDOWN', '.json': 'JSON', '.jsonl': 'JSONL', '.html': 'HTML', '.txt': 'TEXT' };

function show({ output }: CommandContext, { settings }: Conversation): void {
  for (const [name, value] of settings.list()) output.note(`${name.padEnd(18)} ${value}`);
}

function set(context: CommandContext, conversation: Conversation, words: string): void {
  const [, name = '', value = ''] = /^(\S*)\s*([\s\S]*)$/.exec(words) ?? [];
  if (name === '') {
    show(context, conversation);
    return;
  }
  if (value === '') throw wrongUsage('Use it as /set <name> <value>; /set alone shows what is set.');
  conversation.settings.set(name, value);
}

async function save({ output, cwd }: CommandContext, conversation: Conversation, file: string): Promise<void> {
  const format = file === '' ? 'MARKDOWN' : formats[path.extname(file).toLowerCase()];
  if (!format) throw wrongUsage(`The name of the file must end in ${Object.keys(formats).join(', ')}.`);
  const { fileName, content } = await conversation.export(format);
  const target = path.resolve(cwd, file === '' ? fileName : file);
  try {
    // Never over a file that is there: its name was typed in passing.
    await writeFile(target, content, { flag: 'wx' });
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    throw new AppError('INVALID_STATE', code === 'EEXIST' ? `${target} exists already; choose another name.` : `${target} cannot be written (${code}).`, { cause: error });
  }
  output.note(`written to ${target}`);
}

/** Carries out a line that begins with a slash; answers whether the conversation is to end. Throws what went wrong. */
export async function runChatCommand(context: CommandContext, conversation: Conversation, line: string): Promise<boolean> {
  const [, name = '', rest = ''] = /^\/(\S*)\s*([\s\S]*)$/.exec(line) ?? [];
  switch (name) {
    case 'bye':
    case 'exit':
      return true;
    case 'help':
      for (const text of help) context.output.note(text);
      return false;
    case 'new':
      conversation.forget();
      return false;
    case 'set':
      set(context, conversation, rest);
      return false;
    case 'save':
      await save(context, conversation, rest.trim());
      return false;
    default:
      throw wrongUsage(`There is no /${name}; /help lists what there is. A space before the slash makes it a message.`);
  }
}
