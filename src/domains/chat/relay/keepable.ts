import { AppError } from '../../../shared/errors.ts';
import { messageBytesMax, systemPromptLengthMax } from '../chat.input.ts';
import { toStorable } from '../storable-text.ts';
import type { RecordRequest } from './types.ts';

/**
 * What of a request is kept beside its answer, as it can be stored: the engine gets it as it was said. Throws
 * PAYLOAD_TOO_LARGE for more than a session takes.
 */
export function toKeepable(record: RecordRequest): RecordRequest {
  const { sessionId, question, systemPrompt, parameters } = record;
  if (Buffer.byteLength(question) > messageBytesMax) throw tooLarge('a message', `${messageBytesMax} bytes`);
  // A session that is there has its own.
  if (sessionId === null && (systemPrompt?.length ?? 0) > systemPromptLengthMax) throw tooLarge('instructions', `${systemPromptLengthMax} characters`);
  const stop = parameters.stop && { stop: parameters.stop.map(toStorable) };
  return { ...record, question: toStorable(question), systemPrompt: systemPrompt && toStorable(systemPrompt), parameters: { ...parameters, ...stop } };
}

function tooLarge(what: string, most: string): AppError {
  return new AppError('PAYLOAD_TOO_LARGE', `A session keeps ${what} of at most ${most}; ask without X-Chat-Session-Id.`);
}
