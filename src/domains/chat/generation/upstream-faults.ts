import { z } from 'zod';
import { AppError, type ErrorCode } from '../../../shared/errors.ts';

const faultSchema = z.object({
  error: z.union([
    z.string(),
    z.object({ message: z.string().optional(), code: z.union([z.string(), z.number()]).nullish(), type: z.string().nullish() }),
  ]),
});

/** What came is none of what an engine says; `internal` is for the log. */
export function notAnAnswer(internal?: string): AppError {
  return new AppError('RUNTIME_UNAVAILABLE', 'The model server sent something that is not an answer.', internal === undefined ? {} : { internal });
}

/** The engine went away in the middle of it, without a word. */
export function cutShort(): AppError {
  return new AppError('NETWORK_FAILED', 'The connection to the model server ended before the answer was complete.');
}

/** OpenAI's code and llama-server's type for a prompt that does not fit. */
const contextCodes = ['context_length_exceeded', 'exceed_context_size_error'];
/** vLLM, Ollama; Text Generation Inference, which answers 422. */
const contextText = /context (length|size|window)|maximum context|`inputs` (must have less than \d+ tokens|tokens \+ `max_new_tokens`)/i;
const messageLengthMax = 300;

/** What an engine's refusal means to the person who asked. `status` null: it came within a stream that had begun. */
export function upstreamFault(status: number | null, body: unknown): AppError {
  const { message, codes } = readFault(body);
  const internal = `status ${status ?? 'stream'}: ${message}`;
  const exceedsContext = codes.some((code) => contextCodes.includes(code)) || ((status === 400 || status === 422) && contextText.test(message));
  if (exceedsContext) return new AppError('CONTEXT_EXCEEDED', 'The conversation is longer than the context of this model.', { internal });
  if (status === 401 || status === 403) return new AppError('RUNTIME_UNAVAILABLE', 'The model server refused the key that this deployment uses.', { internal });
  if (status === 404) return new AppError('RUNTIME_UNAVAILABLE', 'The model server does not know this model or route.', { internal });
  const code: ErrorCode = status === 400 || status === 422 ? 'VALIDATION_FAILED' : 'RUNTIME_UNAVAILABLE';
  const said = message === '' ? '' : `: ${message}`;
  return new AppError(code, `The model server refused the request${status === null ? '' : ` (${status})`}${said}`, { internal });
}

function readFault(body: unknown): { message: string; codes: string[] } {
  const parsed = faultSchema.safeParse(body);
  if (!parsed.success) return { message: '', codes: [] };
  const { error } = parsed.data;
  if (typeof error === 'string') return { message: plain(error), codes: [] };
  return { message: plain(error.message ?? ''), codes: [String(error.code ?? ''), error.type ?? ''] };
}

/** One short line: it is stored, shown and may come from a server that somebody else runs. */
function plain(text: string): string {
  const line = text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]+/g, ' ').toWellFormed().trim();
  return line.length > messageLengthMax ? `${line.slice(0, messageLengthMax)}…` : line;
}
