import { createParser } from 'eventsource-parser';
import { z } from 'zod';
import { AppError } from '../../../shared/errors.ts';
import { PushStream } from '../../../shared/push-stream.ts';
import { isObject } from '../../../shared/json-shapes.ts';
import { notAnAnswer, upstreamFault } from './upstream-faults.ts';

/** What an engine said, in order. */
export type CompletionEvent =
  | { type: 'text'; text: string; /** Pieces of the engine's that it is made of. */ pieces: number }
  | { type: 'finish'; reason: 'stop' | 'length' }
  | { type: 'usage'; promptTokens: number; completionTokens: number }
  | { type: 'done' };

const chunkSchema = z.object({
  choices: z
    .array(z.object({ delta: z.object({ content: z.string().nullish() }).nullish(), finish_reason: z.string().nullish() }))
    .nullish(),
  // Figures beside an answer: what is wrong with them is no fault of its text.
  usage: z.object({ prompt_tokens: z.number().int().min(0), completion_tokens: z.number().int().min(0) }).nullish().catch(null),
  error: z.unknown().optional(),
});

/** The marker that OpenAI's streams end with. */
const doneMarker = '[DONE]';

/** What a chunk brought; none of a stream's events comes in two of them. */
export type Fed = { events: CompletionEvent[]; /** What came after the events could not be read: RUNTIME_UNAVAILABLE. */ fault: AppError | null };

/**
 * Reads the server-sent events of a streamed completion, as many at a time as came together. Whoever reads leaves after
 * `done` or a fault, which is anything that is not such a stream, or an event longer than `eventCharsMax`.
 */
export function readCompletion(body: AsyncIterable<Uint8Array>, eventCharsMax: number): PushStream<Fed> {
  const feed = createFeed(eventCharsMax);
  const decoder = new TextDecoder('utf-8');
  return PushStream.of(body).map((chunk) => feed(decoder.decode(chunk, { stream: true })));
}

function createFeed(eventCharsMax: number): (text: string) => Fed {
  let fed: Fed = { events: [], fault: null };
  const parser = createParser({
    maxBufferSize: eventCharsMax,
    onEvent: ({ data }) => {
      if (fed.fault) return;
      const read = toEvents(data);
      if (read instanceof AppError) fed.fault = read;
      else for (const event of read) addEvent(fed.events, event);
    },
    onError: ({ type }) => {
      if (type === 'max-buffer-size-exceeded') fed.fault ??= notAnAnswer(`an event of more than ${eventCharsMax} characters`);
    },
  });
  return (text) => {
    fed = { events: [], fault: null };
    parser.feed(text);
    return fed;
  };
}

/** What came together goes on together: each piece costs every reader a message. */
export function addEvent(events: CompletionEvent[], event: CompletionEvent): void {
  const last = events.at(-1);
  if (event.type === 'text' && last?.type === 'text') events[events.length - 1] = { type: 'text', text: last.text + event.text, pieces: last.pieces + event.pieces };
  else events.push(event);
}

/** What one event says; an error when it is not of such a stream. */
export function toEvents(data: string): CompletionEvent[] | AppError {
  if (data.trim() === doneMarker) return [{ type: 'done' }];
  const value = parseJson(data);
  const plain = textOf(value);
  if (plain !== null) return [{ type: 'text', text: plain, pieces: 1 }];
  const parsed = chunkSchema.safeParse(value);
  if (!parsed.success) return notAnAnswer(data.slice(0, 200));
  const { choices, usage, error } = parsed.data;
  if (error !== undefined && error !== null) return upstreamFault(null, parsed.data);
  const events: CompletionEvent[] = [];
  const choice = choices?.[0];
  if (choice?.delta?.content) events.push({ type: 'text', text: choice.delta.content, pieces: 1 });
  if (choice?.finish_reason) events.push({ type: 'finish', reason: choice.finish_reason === 'length' ? 'length' : 'stop' });
  if (usage) events.push({ type: 'usage', promptTokens: usage.prompt_tokens, completionTokens: usage.completion_tokens });
  return events;
}

/** Nearly every event says a token and nothing else: what the schema would make of it without the copies that it makes. Null for any other. */
function textOf(value: unknown): string | null {
  if (!isObject(value) || value['usage'] || value['error'] || !Array.isArray(value['choices']) || value['choices'].length !== 1) return null;
  const choice: unknown = value['choices'][0];
  if (!isObject(choice) || !isObject(choice['delta']) || choice['finish_reason']) return null;
  const { content } = choice['delta'];
  return typeof content === 'string' && content !== '' ? content : null;
}

function parseJson(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    // The schema refuses undefined, with the text in the log.
    return undefined;
  }
}
