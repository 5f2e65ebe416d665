import type { ChatMessage } from '../chat.entity.ts';
import type { ExportSource } from './export-source.ts';
import { controlCharacters, safeMarkdown } from './safe-markdown.ts';
import { Numbering, speakers } from './speakers.ts';

/** The messages in order of time; where the conversation branches, each says what it answers. */
export async function* writeMarkdown({ session, messages, exportedAt }: ExportSource): AsyncGenerator<string> {
  yield `# ${escapeLine(session.title || 'New chat')}\n\n_Exported ${exportedAt.toISOString()}_\n`;
  if (session.systemPrompt) yield `\n## System prompt\n\n${safeMarkdown(session.systemPrompt)}\n`;
  const numbering = new Numbering();
  for await (const message of messages()) yield toSection(message, numbering);
}

function toSection(message: ChatMessage, numbering: Numbering): string {
  const model = message.modelId === null ? '' : ` (${escapeLine(message.modelId)})`;
  const { number, facts } = numbering.next(message);
  return `\n## ${number}. ${speakers[message.role]}${model}\n\n_${facts.map(escapeLine).join(' · ')}_\n\n${safeMarkdown(message.content)}\n`;
}

/** One line without any formatting of its own. */
function escapeLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').replaceAll(controlCharacters, '').replaceAll(/[\\`*_{}[\]<>#|~]/g, '\\$&').trim();
}
