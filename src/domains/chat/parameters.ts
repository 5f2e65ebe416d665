import { z } from 'zod';
import { toOpenAiSampling } from '../../shared/sampling.ts';
import { isStorable } from '../../shared/storable.ts';
import { storableText } from './storable-text.ts';
import type { ChatParameters } from './types.ts';

/** Largest seed and count that every engine reads without overflow (a signed 32-bit number). */
const int32Max = 2_147_483_647;
const schemaBytesMax = 64 * 1024;
const schemaDepthMax = 32;

const jsonSchema = z.custom<Readonly<Record<string, unknown>>>(isPlainObject, {
  message: `must be a JSON object of at most ${schemaBytesMax} bytes and ${schemaDepthMax} levels`,
});

const responseFormat = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('text') }),
  z.strictObject({ type: z.literal('json_object') }),
  z.strictObject({ type: z.literal('json_schema'), jsonSchema }),
]);

/** Only fields with a known meaning and range reach an engine: some compute array offsets from what they get. */
export const parametersSchema = z.strictObject({
  temperature: z.number().min(0).max(2).optional(),
  topP: z.number().min(0).max(1).optional(),
  topK: z.int().min(0).max(100_000).optional(),
  maxTokens: z.int().min(1).max(int32Max).optional(),
  stop: z.array(storableText(256).min(1, 'must not be empty')).max(16).optional(),
  seed: z.int().min(0).max(int32Max).optional(),
  presencePenalty: z.number().min(-2).max(2).optional(),
  frequencyPenalty: z.number().min(-2).max(2).optional(),
  repeatPenalty: z.number().min(0).max(2).optional(),
  responseFormat: responseFormat.optional(),
});

/** The second one's fields win; fields without a value are left out. */
export function mergeParameters(base: ChatParameters, over: ChatParameters | undefined): ChatParameters {
  const entries: [string, unknown][] = [...Object.entries(base), ...Object.entries(over ?? {})];
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

/** The same in OpenAI's words. */
export function toUpstreamParameters(parameters: ChatParameters): Record<string, unknown> {
  const named = {
    ...toOpenAiSampling(parameters),
    max_tokens: parameters.maxTokens,
    stop: parameters.stop?.length ? parameters.stop : undefined,
    response_format: toUpstreamFormat(parameters.responseFormat),
  };
  return Object.fromEntries(Object.entries(named).filter(([, value]) => value !== undefined));
}

function toUpstreamFormat(format: ChatParameters['responseFormat']): Record<string, unknown> | undefined {
  if (format?.type !== 'json_schema') return format;
  const { jsonSchema: given } = format;
  // OpenAI wraps the schema with a name; people write either.
  const isWrapped = Boolean(given['schema']) && typeof given['schema'] === 'object';
  return { type: 'json_schema', json_schema: isWrapped ? { name: 'answer', ...given } : { name: 'answer', schema: given } };
}

/** A JSON object within the bounds of size and depth that a schema or a tool may have. */
export function isPlainObject(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return isPlainJson(value, 0) && Buffer.byteLength(JSON.stringify(value)) <= schemaBytesMax;
}

function isPlainJson(value: unknown, depth: number): boolean {
  if (depth > schemaDepthMax) return false;
  if (value === null || typeof value === 'boolean') return true;
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value === 'string') return isStorable(value);
  if (Array.isArray(value)) return value.every((item) => isPlainJson(item, depth + 1));
  if (typeof value !== 'object') return false;
  return Object.entries(value).every(([name, item]) => name !== '__proto__' && isStorable(name) && isPlainJson(item, depth + 1));
}
