import { ZodError } from 'zod';
import { AppError } from '../../../../shared/errors.ts';
import type { StreamingHttp, StreamingResponse } from '../../../../shared/streaming-http.ts';
import { AnswerInOpenAiWords, openAiError, parseFrame } from './chat-answer.ts';
import { parseChatRequest, toOllamaRequest, type ChatRequest } from './chat-request.ts';
import type { LoadOptions } from './ollama-server.ts';

export type OllamaChatDeps = { http: StreamingHttp; host: string; model: string; load: LoadOptions };

/** One line holds one token, or a whole answer that is not streamed. */
const lineCharsMax = 16 * 1024 * 1024;
const faultBytesMax = 64 * 1024;

/**
 * Takes OpenAI's `POST /v1/chat/completions` and answers it through Ollama's own `/api/chat`. Its own `/v1` would load
 * the model again, for it cannot be told options and keep-alive, and leaves out how a stream failed. What is no chat
 * goes to the server as it is.
 */
export function createOllamaChat({ http, host, model, load }: OllamaChatDeps): StreamingHttp {
  return async (request, signal) => {
    if (!request.url.endsWith('/v1/chat/completions')) return await http(request, signal);
    const parsed = parse(request.body);
    if (parsed instanceof ZodError) {
      const [issue] = parsed.issues;
      return jsonResponse(400, openAiError(`${issue?.path.join('.') ?? 'body'}: ${issue?.message ?? 'is not valid'}`));
    }
    const body = JSON.stringify(toOllamaRequest(parsed, model, load));
    const response = await http({ method: 'POST', url: `${host}/api/chat`, headers: { ...request.headers, accept: 'application/x-ndjson' }, body }, signal);
    if (response.status < 200 || response.status > 299) return jsonResponse(response.status, openAiError(await readFault(response)), response.headers);
    const answer = new AnswerInOpenAiWords(model, parsed.stream_options?.include_usage === true);
    if (parsed.stream === true) return { status: 200, headers: { 'content-type': 'text/event-stream; charset=utf-8' }, body: toEvents(response.body, answer) };
    return await toWhole(response.body, answer);
  };
}

function parse(text: string): ChatRequest | ZodError {
  try {
    return parseChatRequest(text);
  } catch (error) {
    if (error instanceof ZodError) return error;
    throw error;
  }
}

async function* toEvents(body: AsyncIterable<Uint8Array>, answer: AnswerInOpenAiWords): AsyncGenerator<Uint8Array> {
  for await (const lines of readLines(body)) {
    const events = lines.flatMap((line) => answer.events(parseLine(line)));
    yield Buffer.from(events.map((event) => `data: ${event}\n\n`).join(''));
  }
}

async function toWhole(body: AsyncIterable<Uint8Array>, answer: AnswerInOpenAiWords): Promise<StreamingResponse> {
  for await (const lines of readLines(body)) {
    const [line] = lines;
    if (line !== undefined) return jsonResponse(200, answer.whole(parseLine(line)));
  }
  throw notAnAnswer('nothing');
}

/** Complete lines, as many at a time as came together. */
async function* readLines(body: AsyncIterable<Uint8Array>): AsyncGenerator<string[]> {
  const decoder = new TextDecoder('utf-8');
  let rest = '';
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > lineCharsMax) throw notAnAnswer('a line without an end');
    const whole = lines.filter((line) => line.trim() !== '');
    if (whole.length > 0) yield whole;
  }
  // An answer that is not streamed has no newline at its end.
  if (rest.trim() !== '') yield [rest];
}

function parseLine(line: string): ReturnType<typeof parseFrame> {
  try {
    return parseFrame(line);
  } catch (cause) {
    throw notAnAnswer(line.slice(0, 200), cause);
  }
}

async function readFault({ body }: StreamingResponse): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes >= faultBytesMax) break;
  }
  const text = Buffer.concat(chunks).toString('utf8');
  try {
    return parseFrame(text).error ?? 'no reason given';
  } catch {
    return text.slice(0, 500);
  }
}

function jsonResponse(status: number, value: object, headers: Readonly<Record<string, string>> = {}): StreamingResponse {
  const retryAfter = headers['retry-after'];
  return { status, headers: { 'content-type': 'application/json', ...(retryAfter === undefined ? {} : { 'retry-after': retryAfter }) }, body: once(Buffer.from(JSON.stringify(value))) };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}

function notAnAnswer(internal: string, cause?: unknown): AppError {
  return new AppError('RUNTIME_UNAVAILABLE', 'The Ollama server sent something that is not an answer.', { internal, cause });
}
