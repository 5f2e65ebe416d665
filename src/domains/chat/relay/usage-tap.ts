import { createParser } from 'eventsource-parser';
import { z } from 'zod';
import type { AppError } from '../../../shared/errors.ts';
import { tokenCountMax } from '../generation/answer-meter.ts';
import { notAnAnswer } from '../generation/upstream-faults.ts';
import type { Tap } from './recorder.ts';
import { WholeEvents } from './whole-events.ts';

/** Reads what an answer took, and nothing else of it. */
export type UsageTap = Tap & {
  /** Of prompt and answer, as the engine told; as long as it has not, the pieces that came. */
  readonly tokens: number;
};

const count = z.int().min(0).max(tokenCountMax);
const usageSchema = z.looseObject({
  usage: z.looseObject({ prompt_tokens: count.optional(), completion_tokens: count.optional() }).nullish(),
  choices: z.array(z.looseObject({ text: z.unknown().optional(), delta: z.record(z.string(), z.unknown()).nullish() })).optional(),
});

type Read = { tokens: number | null; hasChoices: boolean; isPiece: boolean };

const nothing: Read = { tokens: null, hasChoices: false, isPiece: false };

/** Longer answers than this are not read whole; there the length has to do. */
const wholeBytesMax = 32 * 1024 * 1024;
const bytesPerToken = 4;

/** Whether an event says anything of an answer; one of the usage alone does not. */
export function hasChoices(data: string): boolean {
  return read(data).hasChoices;
}

function read(text: string): Read {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return nothing;
  }
  const parsed = usageSchema.safeParse(value);
  if (!parsed.success) return nothing;
  const { usage, choices = [] } = parsed.data;
  return { tokens: usage ? (usage.prompt_tokens ?? 0) + (usage.completion_tokens ?? 0) : null, hasChoices: choices.length > 0, isPiece: choices.some(({ text: said, delta }) => said || isSaying(delta)) };
}

/** More than who speaks: words, thoughts or calls of tools. */
function isSaying(delta: Readonly<Record<string, unknown>> | null | undefined): boolean {
  return Object.entries(delta ?? {}).some(([name, value]) => name !== 'role' && value !== null && value !== '');
}

/** Of a stream of events. The event with the usage alone, which only we have asked for, is kept from the caller. */
export function createStreamUsageTap({ wantsUsage, eventCharsMax }: { wantsUsage: boolean; eventCharsMax: number }): UsageTap {
  const whole = new WholeEvents(eventCharsMax);
  const decoder = new TextDecoder('utf-8');
  let out: string[] = [];
  let pieces = 0;
  let told: number | null = null;
  let fault: AppError | null = null;
  const parser = createParser({
    maxBufferSize: eventCharsMax,
    onEvent: ({ data, event }) => {
      const { tokens, hasChoices, isPiece } = read(data);
      if (tokens !== null) told = tokens;
      if (isPiece) pieces += 1;
      if (tokens !== null && !hasChoices && !wantsUsage) return;
      out.push(`${event === undefined ? '' : `event: ${event}\n`}data: ${data.replaceAll('\n', '\ndata: ')}\n\n`);
    },
    onError: ({ type }) => {
      if (type === 'max-buffer-size-exceeded') fault ??= notAnAnswer();
    },
  });
  const pass = (text: string): Uint8Array | null => {
    parser.feed(text);
    if (fault) throw fault;
    const passed = out.join('');
    out = [];
    return passed === '' ? null : Buffer.from(passed, 'utf8');
  };
  return {
    push(chunk) {
      const events = whole.push(chunk);
      return events && pass(decoder.decode(events, { stream: true }));
    },
    finish() {
      // The empty line that the last event may be without.
      return pass(`${decoder.decode(whole.finish())}\n\n`) ?? new Uint8Array();
    },
    finishReason: 'stop',
    get tokens() {
      return told ?? pieces;
    },
  };
}

/** Of an answer in one piece, which is passed on as it comes. */
export function createWholeUsageTap(): UsageTap {
  let chunks: Uint8Array[] = [];
  let bytes = 0;
  let told: number | null = null;
  return {
    push(chunk) {
      bytes += chunk.length;
      if (bytes <= wholeBytesMax) chunks.push(chunk);
      return chunk;
    },
    finish() {
      if (bytes <= wholeBytesMax) told = read(Buffer.concat(chunks).toString('utf8')).tokens;
      chunks = [];
      return new Uint8Array();
    },
    finishReason: 'stop',
    get tokens() {
      return told ?? Math.ceil(bytes / bytesPerToken);
    },
  };
}
