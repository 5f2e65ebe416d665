import type { IncomingMessage } from 'node:http';
import type { RecordRequest } from '../../domains/chat/relay/types.ts';
import type { ChatParameters } from '../../domains/chat/types.ts';
import { validationFailed } from '../../shared/errors.ts';
import { fromOpenAiSampling } from '../../shared/sampling.ts';
import type { ChatCompletionBody } from './request-schemas.ts';

export const sessionHeader = 'x-chat-session-id';

type Content = ChatCompletionBody['messages'][number]['content'];

/**
 * `X-Chat-Session-Id: new` or the id of a session keeps the last message and its answer there. A request whose last
 * message is not a person's (the results of tools) belongs to a turn that is kept already, so nothing is added.
 */
export function recordRequestOf(req: IncomingMessage, body: ChatCompletionBody): RecordRequest | null {
  const given = req.headers[sessionHeader];
  if (given === undefined || given === '') return null;
  if (typeof given !== 'string') throw validationFailed([{ field: 'X-Chat-Session-Id', message: 'given more than once' }]);
  const last = body.messages.at(-1);
  if (last?.role !== 'user') return null;
  if ((body.n ?? 1) > 1) throw validationFailed([{ field: 'n', message: 'must be 1 in a request that is kept in a session' }]);
  const instructions = body.messages.filter(({ role }) => role === 'system' || role === 'developer').map((message) => textOf(message.content));
  return {
    sessionId: given === 'new' ? null : given,
    question: textOf(last.content),
    systemPrompt: instructions.join('\n\n') || null,
    parameters: parametersOf(body),
  };
}

/** Pictures and sounds are not kept: the text says that they were there. */
function textOf(content: Content): string {
  if (content === null || content === undefined) return '';
  if (typeof content === 'string') return content;
  return content.map((part) => (part.type === 'text' ? part.text : part.type === 'image_url' ? '[image]' : part.type === 'input_audio' ? '[audio]' : '')).join('\n');
}

function parametersOf(body: ChatCompletionBody): ChatParameters {
  const all = {
    ...fromOpenAiSampling(body),
    maxTokens: body.max_completion_tokens ?? body.max_tokens,
    stop: typeof body.stop === 'string' ? [body.stop] : body.stop,
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined && value !== null));
}
