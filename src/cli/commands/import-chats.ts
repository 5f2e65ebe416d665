import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { ImportChatSessionDocument, type ImportChatSessionMutation } from '../../../schema/generated/graphql.ts';
import { AppError, isAppError, validationFailed } from '../../shared/errors.ts';
import { chatView } from '../../shared/json-view.ts';
import type { CommandContext, Handler } from '../context.ts';
import { exitCodes } from '../failure.ts';
import { columns, text } from '../format.ts';
import { accept, type ServiceClient } from '../service-client.ts';

type Imported = Extract<ImportChatSessionMutation['importChatSession'], { __typename: 'ImportChatSessionPayload' }>;
type Totals = { sessions: Imported['sessions'][number][]; skippedCount: number; failed: { title: string; error: AppError }[] };

/** An export of years of ChatGPT has some hundred MiB. */
const fileBytesMax = 1024 * 1024 * 1024;
/** Of one call; the service takes more of both, but others wait while it reads. */
const callCharsMax = 8 * 1024 * 1024;
const callConversationsMax = 200;

export const importChats: Handler = async (context, [given = '']) => {
  const file = path.resolve(context.cwd, given);
  const parts = splitFile(await readText(file));
  const client = await context.connect();
  const totals: Totals = { sessions: [], skippedCount: 0, failed: [] };
  for (const part of parts) await importPart(client, part, totals, context);
  const [refused] = totals.failed;
  if (refused && totals.failed.length === parts.flat().length) throw refused.error;
  const { output } = context;
  output.data({ items: totals.sessions.map(chatView), skipped_count: totals.skippedCount, failed: totals.failed.map(({ title, error: { code, message } }) => ({ title, code, message })) });
  columns(output, ['SESSION', 'TITLE', 'MESSAGES'], totals.sessions.map(({ sessionId, title, messageCount }) => [sessionId, text(title), String(messageCount)]));
  output.note(`${totals.sessions.length} conversations imported, ${totals.skippedCount} without messages, ${totals.failed.length} refused`);
  for (const { title, error } of totals.failed) output.note(`${text(title)}: ${error.code}: ${error.message}`);
  return totals.failed.length > 0 ? exitCodes.failed : undefined;
};

async function readText(file: string): Promise<string> {
  const found = await stat(file).catch(() => null);
  if (!found?.isFile()) throw new AppError('FILE_NOT_FOUND', `There is no file ${file}.`);
  if (found.size > fileBytesMax) throw new AppError('PAYLOAD_TOO_LARGE', `${file} has ${found.size} bytes; at most ${fileBytesMax} are read.`);
  return await readFile(file, 'utf8');
}

/** A list of conversations in as many calls as it takes; anything else as it is, for the service to judge. */
function splitFile(content: string): string[][] {
  let value: unknown;
  try {
    value = JSON.parse(content);
  } catch {
    throw validationFailed([{ field: 'file', message: 'is no JSON' }]);
  }
  if (!Array.isArray(value)) return [[content]];
  const parts: string[][] = [];
  let chars = Number.POSITIVE_INFINITY;
  for (const conversation of value) {
    const one = JSON.stringify(conversation);
    if (chars + one.length > callCharsMax || (parts.at(-1)?.length ?? 0) >= callConversationsMax) {
      parts.push([]);
      chars = 0;
    }
    parts.at(-1)?.push(one);
    chars += one.length;
  }
  return parts;
}

/** What is refused as a whole is tried in halves, so that one bad conversation does not keep the others out. */
async function importPart(client: ServiceClient, part: readonly string[], totals: Totals, context: CommandContext): Promise<void> {
  const [only = ''] = part;
  const content = part.length === 1 ? only : `[${part.join(',')}]`;
  try {
    const { sessions, skippedCount } = accept((await client.execute(ImportChatSessionDocument, { input: { content } }, context.signal)).importChatSession);
    totals.sessions.push(...sessions);
    totals.skippedCount += skippedCount;
  } catch (error) {
    if (!isAppError(error, 'VALIDATION_FAILED', 'PAYLOAD_TOO_LARGE')) throw error;
    if (part.length === 1) totals.failed.push({ title: titleOf(only), error });
    else {
      const middle = Math.ceil(part.length / 2);
      await importPart(client, part.slice(0, middle), totals, context);
      await importPart(client, part.slice(middle), totals, context);
    }
  }
}

function titleOf(conversation: string): string {
  const title = (JSON.parse(conversation) as { title?: unknown } | null)?.title;
  return typeof title === 'string' && title !== '' ? title.slice(0, 80) : 'a conversation without a title';
}
