import { createParser } from 'eventsource-parser';
import { z } from 'zod';
import { AppError } from '../../../shared/errors.ts';
import { addEvent, toEvents, type CompletionEvent } from '../generation/completion-stream.ts';
import { cutShort, notAnAnswer } from '../generation/upstream-faults.ts';
import type { Recording } from './recording.ts';
import { hasChoices } from './usage-tap.ts';

/** What reads an answer on its way; what it returns is passed on. */
export type Tap = {
  push(chunk: Uint8Array): Uint8Array | null;
  /** After the last chunk: what is still to be passed on. */
  finish(): Uint8Array;
  readonly finishReason: 'stop' | 'length';
};

const nothing = new Uint8Array();

/** Reads a stream of events into a recording. The usage that only we asked for is kept from the caller. */
export function createStreamTap(recording: Recording, { wantsUsage, eventCharsMax }: { wantsUsage: boolean; eventCharsMax: number }): Tap {
  const decoder = new TextDecoder('utf-8');
  let out: string[] = [];
  let said: CompletionEvent[] = [];
  let finishReason: 'stop' | 'length' = 'stop';
  let isComplete = false;
  let fault: AppError | null = null;
  const take = (event: CompletionEvent): void => {
    if (event.type === 'text') recording.write(event.text, event.pieces);
    else if (event.type === 'usage') recording.meter.engineTold(event);
    else isComplete = true;
    if (event.type === 'finish') finishReason = event.reason;
  };
  const parser = createParser({
    maxBufferSize: eventCharsMax,
    onEvent: ({ data }) => {
      const events = toEvents(data);
      if (events instanceof AppError) {
        fault ??= events;
        return;
      }
      for (const event of events) addEvent(said, event);
      // Some engines tell the usage with every piece.
      const isUsageOnly = events.length === 1 && events[0]?.type === 'usage' && !hasChoices(data);
      if (wantsUsage || !isUsageOnly) out.push(`data: ${data.replaceAll('\n', '\ndata: ')}\n\n`);
    },
    onError: ({ type }) => {
      if (type === 'max-buffer-size-exceeded') fault ??= notAnAnswer();
    },
  });
  return {
    push(chunk) {
      parser.feed(decoder.decode(chunk, { stream: true }));
      for (const event of said) take(event);
      said = [];
      if (fault) throw fault;
      const text = out.join('');
      out = [];
      return text === '' ? null : Buffer.from(text, 'utf8');
    },
    finish() {
      if (!isComplete) throw cutShort();
      return nothing;
    },
    get finishReason() {
      return finishReason;
    },
  };
}

const wholeSchema = z.object({
  choices: z.array(z.object({ message: z.object({ content: z.string().nullish() }).nullish(), finish_reason: z.string().nullish() })).min(1),
  usage: z.object({ prompt_tokens: z.number().int().min(0), completion_tokens: z.number().int().min(0) }).nullish(),
});

/** Reads an answer that comes in one piece; what is longer than `bytesMax` is refused, because it has to be held. */
export function createWholeTap(recording: Recording, bytesMax: number): Tap {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  let finishReason: 'stop' | 'length' = 'stop';
  return {
    push(chunk) {
      bytes += chunk.length;
      if (bytes > bytesMax) throw new AppError('PAYLOAD_TOO_LARGE', `An answer that is recorded may have ${bytesMax} bytes.`);
      chunks.push(chunk);
      return null;
    },
    finish() {
      const body = Buffer.concat(chunks);
      const parsed = wholeSchema.safeParse(parseJson(body.toString('utf8')));
      if (!parsed.success) throw notAnAnswer();
      const { choices, usage } = parsed.data;
      const text = choices[0]?.message?.content ?? '';
      if (text !== '') recording.write(text, 1);
      if (usage) recording.meter.engineTold({ promptTokens: usage.prompt_tokens, completionTokens: usage.completion_tokens });
      if (choices[0]?.finish_reason === 'length') finishReason = 'length';
      return body;
    },
    get finishReason() {
      return finishReason;
    },
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The schema refuses undefined.
    return undefined;
  }
}
