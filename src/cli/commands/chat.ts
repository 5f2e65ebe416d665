import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ExportChatSessionDocument, ListChatSessionsDocument, type ExportFormat } from '../../../schema/generated/graphql.ts';
import { AppError } from '../../shared/errors.ts';
import { chatView, toList } from '../../shared/json-view.ts';
import type { Handler } from '../context.ts';
import { Conversation } from '../conversation.ts';
import { enumFlag, numberFlag, textFlag } from '../flags.ts';
import { columns, text, time, word } from '../format.ts';
import { answersWhenAsked, collect, getDeployment } from '../lookup.ts';
import { accept } from '../service-client.ts';
import { chatAtTerminal, chatByLines } from '../terminal-chat.ts';

const exportFormats = ['MARKDOWN', 'JSON', 'JSONL', 'HTML', 'TEXT'] as const satisfies readonly ExportFormat[];

export const chat: Handler = async (context, [name = '']) => {
  const client = await context.connect();
  const deployment = await getDeployment(client, name, context.signal);
  if (!answersWhenAsked(deployment)) throw new AppError('INVALID_STATE', `${name} is ${word(deployment.status)}; "llm-manager start ${name}" starts it.`);
  const conversation = new Conversation({ context, client, deploymentId: deployment.deploymentId });
  return await (context.stdin.isTTY ? chatAtTerminal(context, conversation) : chatByLines(context, conversation));
};

export const sessions: Handler = async ({ output, signal, flags, connect }, words) => {
  const client = await connect();
  const search = words.length > 0 ? words.join(' ') : null;
  const list = await collect(async (first, after) => (await client.execute(ListChatSessionsDocument, { search, first, after }, signal)).chatSessions, numberFlag(flags, 'limit') ?? 20);
  output.data(toList(list, chatView));
  columns(output, ['SESSION', 'TITLE', 'MESSAGES', 'LAST'], list.items.map((session) => [session.sessionId, text(session.title), String(session.messageCount), time(session.updatedAt)]));
  return undefined;
};

export const exportSession: Handler = async ({ output, signal, flags, cwd, connect }, [sessionId = '']) => {
  const client = await connect();
  const format = enumFlag(flags, 'format', exportFormats) ?? 'MARKDOWN';
  const { fileName, contentType, content } = accept((await client.execute(ExportChatSessionDocument, { input: { sessionId, format } }, signal)).exportChatSession);
  const file = textFlag(flags, 'output');
  if (file !== undefined) {
    const target = path.resolve(cwd, file);
    await writeFile(target, content);
    output.note(`written to ${target}`);
    output.data({ file: target, content_type: contentType });
    return undefined;
  }
  output.data({ file_name: fileName, content_type: contentType, content });
  output.piece(content.endsWith('\n') ? content : `${content}\n`);
  return undefined;
};
