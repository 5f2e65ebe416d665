import type { ExportSource } from './export-source.ts';
import { controlCharacters } from './safe-markdown.ts';
import { Numbering, speakers } from './speakers.ts';

const rule = '-'.repeat(72);

/** Plain text for people; nothing in it steers a terminal. */
export async function* writeText({ session, messages, exportedAt }: ExportSource): AsyncGenerator<string> {
  yield `${line(session.title || 'New chat')}\nExported ${exportedAt.toISOString()}\n`;
  if (session.systemPrompt) yield `\n${rule}\nSystem prompt\n\n${plain(session.systemPrompt)}\n`;
  const numbering = new Numbering();
  for await (const message of messages()) {
    const { number, facts } = numbering.next(message);
    const model = message.modelId === null ? '' : ` (${line(message.modelId)})`;
    yield `\n${rule}\n${number}. ${speakers[message.role]}${model}, ${facts.map(line).join(', ')}\n\n${plain(message.content)}\n`;
  }
}

function plain(text: string): string {
  return text.replaceAll('\r\n', '\n').replaceAll(controlCharacters, '');
}

function line(text: string): string {
  return plain(text).replaceAll(/\s+/g, ' ').trim();
}
