import type { ChatMessage } from '../chat.entity.ts';
import type { ExportSource } from './export-source.ts';

/** A message may have a MiB: few are held at once. */
const messagesAtOnce = 16;

/**
 * OpenAI's lines for fine-tuning: each line is one conversation, from the system prompt to an answer that nothing
 * answers any more. Branches become lines of their own; only complete answers teach anything.
 */
export async function* writeJsonl({ session, messages, findMany }: ExportSource): AsyncGenerator<string> {
  const parents = new Map<string, string | null>();
  /** The nearest complete answer at or above each message. */
  const nearest = new Map<string, string | null>();
  const ends = new Set<string>();
  for await (const message of messages()) {
    const { id, parentId } = message;
    parents.set(id, parentId);
    const above = parentId === null ? null : (nearest.get(parentId) ?? null);
    const isEnd = isCompleteAnswer(message);
    nearest.set(id, isEnd ? id : above);
    if (!isEnd) continue;
    ends.add(id);
    if (above !== null) ends.delete(above);
  }
  for (const end of ends) yield* writeLine(session.systemPrompt, pathTo(end, parents), findMany);
}

function isCompleteAnswer({ role, status, content }: ChatMessage): boolean {
  return role === 'assistant' && status === 'completed' && content !== '';
}

/** From the first message to this one. */
function pathTo(id: string, parents: ReadonlyMap<string, string | null>): string[] {
  const path: string[] = [];
  for (let at: string | null = id; at !== null; at = parents.get(at) ?? null) path.push(at);
  return path.reverse();
}

/** Piece by piece: a long conversation is one long line. */
async function* writeLine(systemPrompt: string | null, path: readonly string[], findMany: ExportSource['findMany']): AsyncGenerator<string> {
  yield '{"messages":[';
  let separator = '';
  if (systemPrompt) {
    yield JSON.stringify({ role: 'system', content: systemPrompt });
    separator = ',';
  }
  for (let start = 0; start < path.length; start += messagesAtOnce) {
    const ids = path.slice(start, start + messagesAtOnce);
    const rows = new Map((await findMany(ids)).map((row) => [row.id, row]));
    for (const { role, content } of ids.flatMap((id) => rows.get(id) ?? [])) {
      if (content === '') continue;
      yield `${separator}${JSON.stringify({ role, content })}`;
      separator = ',';
    }
  }
  yield ']}\n';
}
