import type { ChatMessage } from '../chat.entity.ts';
import type { ExportSource } from './export-source.ts';
import { controlCharacters, safeMarkdown } from './safe-markdown.ts';

const speakers = { system: 'System', user: 'User', assistant: 'Assistant' } as const;
const notes = { streaming: 'still being written', completed: null, stopped: 'stopped', interrupted: 'interrupted', failed: 'failed' } as const;

/** The messages in order of time; where the conversation branches, each says what it answers. */
export async function* writeMarkdown({ session, messages, exportedAt }: ExportSource): AsyncGenerator<string> {
  yield `# ${escapeLine(session.title || 'New chat')}\n\n_Exported ${exportedAt.toISOString()}_\n`;
  if (session.systemPrompt) yield `\n## System prompt\n\n${safeMarkdown(session.systemPrompt)}\n`;
  const numbers = new Map<string, number>();
  let previousId: string | null = null;
  for await (const message of messages) {
    numbers.set(message.id, numbers.size + 1);
    yield toSection(message, { numbers, previousId });
    previousId = message.id;
  }
}

function toSection(message: ChatMessage, { numbers, previousId }: { numbers: ReadonlyMap<string, number>; previousId: string | null }): string {
  const model = message.modelId === null ? '' : ` (${escapeLine(message.modelId)})`;
  const number = numbers.get(message.id) ?? 0;
  const parent = message.parentId === null || message.parentId === previousId ? undefined : numbers.get(message.parentId);
  const facts = [message.createdAt.toISOString(), parent === undefined ? null : `in reply to ${parent}`, notes[message.status], message.error && escapeLine(message.error.message)];
  return `\n## ${number}. ${speakers[message.role]}${model}\n\n_${facts.filter(Boolean).join(' · ')}_\n\n${safeMarkdown(message.content)}\n`;
}

/** One line without any formatting of its own. */
function escapeLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').replaceAll(controlCharacters, '').replaceAll(/[\\`*_{}[\]<>#|~]/g, '\\$&').trim();
}
