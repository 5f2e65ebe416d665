import { createParser } from 'eventsource-parser';
import { z } from 'zod';
import type { AppError } from '../../../shared/errors.ts';
import { notAnAnswer } from '../generation/upstream-faults.ts';
import type { Tap } from './recorder.ts';

/** Reads what an answer took, and nothing else of it. */
export type UsageTap = Tap & {
  /** Of prompt and answer, as the engine told; as long as it has not, the pieces that came. */
  readonly tokens: number;
};

const usageSchema = z.looseObject({
  usage: z.looseObject({ prompt_tokens: z.number().int().min(0).optional(), completion_tokens: z.number().int().min(0).optional() }).nullish(),
  choices: z.array(z.looseObject({ text: z.unknown().optional(), delta: z.record(z.string(), z.unknown()).nullish() })).optional(),
});

type Read = { tokens: number | null; hasChoices: boolean; isPiece: boolean };

const nothing: Read = { tokens: null, hasChoices: false, isPiece: false };

/** Longer answers than this are not read whole; there the length has to do. */
const wholeBytesMax = 32 * 1024 * 1024;
const bytesPerToken = 4;

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
  return {
    push(chunk) {
      parser.feed(decoder.decode(chunk, { stream: true }));
      if (fault) throw fault;
      const text = out.join('');
      out = [];
      return text === '' ? null : Buffer.from(text, 'utf8');
    },
    finish: () => new Uint8Array(),
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
