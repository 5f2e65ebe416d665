import type { Clock } from '../../../shared/clock.ts';
import type { Principal } from '../../../shared/principal.ts';
import type { ChatMessage, ChatSession } from '../chat.entity.ts';
import { knownShape } from '../chat.input.ts';
import { sessionNotFound } from '../faults.ts';
import type { MessageRepository } from '../message.repository.ts';
import type { SessionRepository } from '../session.repository.ts';
import type { Chat, ExportedSession, ExportFormat } from '../types.ts';
import type { ExportSource } from './export-source.ts';
import { writeHtml } from './html.ts';
import { writeJson } from './json.ts';
import { writeJsonl } from './jsonl.ts';
import { writeMarkdown } from './markdown.ts';
import { writeText } from './text.ts';

export type ExportDeps = { sessions: SessionRepository; messages: MessageRepository; clock: Clock };

/** A message may have a MiB: few are held at once. */
const messagesAtOnce = 16;
const nameLengthMax = 60;

const formats: Readonly<Record<ExportFormat, { extension: string; contentType: string; write: (source: ExportSource) => AsyncIterable<string> }>> = {
  json: { extension: 'json', contentType: 'application/json; charset=utf-8', write: writeJson },
  markdown: { extension: 'md', contentType: 'text/markdown; charset=utf-8', write: writeMarkdown },
  jsonl: { extension: 'jsonl', contentType: 'application/jsonl; charset=utf-8', write: writeJsonl },
  html: { extension: 'html', contentType: 'text/html; charset=utf-8', write: writeHtml },
  text: { extension: 'txt', contentType: 'text/plain; charset=utf-8', write: writeText },
};

export function createExport({ sessions, messages, clock }: ExportDeps): Chat['export'] {
  return async (sessionId: string, format: ExportFormat, principal: Principal, signal: AbortSignal): Promise<ExportedSession> => {
    const id = knownShape(sessionId);
    const session = id && (await sessions.find(id, principal.owner));
    if (!session) throw sessionNotFound();
    // What comes later is not part of it: the export of a busy session ends, too.
    const newest = await messages.newest(session.id, principal.owner);
    const { extension, contentType, write } = formats[format];
    const chunks = write({
      session,
      messages: () => (newest ? readAll(messages, newest, signal) : none()),
      findMany: (ids) => messages.findMany(ids, principal.owner),
      exportedAt: clock.now(),
    });
    return { fileName: `${fileNameOf(session)}.${extension}`, contentType, chunks };
  };
}

async function* readAll(messages: MessageRepository, { sessionId, owner, id: throughId }: ChatMessage, signal: AbortSignal): AsyncGenerator<ChatMessage> {
  let afterId: string | null = null;
  for (;;) {
    signal.throwIfAborted();
    const rows: ChatMessage[] = await messages.list({ sessionId, owner, afterId, throughId, limit: messagesAtOnce });
    yield* rows;
    const last = rows.at(-1);
    if (last?.id === throughId) return;
    // The session was deleted meanwhile: half a file must not look like a whole one.
    if (!last) throw sessionNotFound();
    afterId = last.id;
  }
}

// eslint-disable-next-line @typescript-eslint/require-await
async function* none(): AsyncGenerator<ChatMessage> {
  yield* [];
}

/** Letters, digits and hyphens only: safe on every file system and in every header. */
function fileNameOf({ id, title }: ChatSession): string {
  const plain = title.normalize('NFKD').replaceAll(/\p{M}/gu, '').toLowerCase();
  const name = plain.replaceAll(/[^a-z0-9]+/g, '-').slice(0, nameLengthMax).replaceAll(/^-+|-+$/g, '');
  return `chat-${name === '' ? '' : `${name}-`}${id.slice(-8)}`;
}
