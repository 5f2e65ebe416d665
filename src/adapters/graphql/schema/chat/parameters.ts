import { z } from 'zod';
import type { ChatParameters as Parameters } from '../../../../domains/chat/types.ts';
import { builder } from '../../builder.ts';
import { withoutNulls } from '../../nulls.ts';
import { numberFrom, wholeNumber } from '../validation.ts';
import { ResponseFormatType } from './enums.ts';

type Format = NonNullable<Parameters['responseFormat']>;

/** OpenAI takes four; some engines more. */
const stopMax = 16;
const stopLengthMax = 500;
const tokensMax = 16_777_216;
const int32 = 2_147_483_647;

const ResponseFormat = builder.objectRef<Format>('ResponseFormat').implement({
  description: 'Form that an answer has to have.',
  fields: (t) => ({
    type: t.expose('type', { type: ResponseFormatType, description: 'Which form.' }),
    jsonSchema: t.field({ type: 'JSON', nullable: true, description: 'The schema that it follows.', resolve: (format) => ('jsonSchema' in format ? format.jsonSchema : null) }),
  }),
});

export const ChatParameters = builder.objectRef<Parameters>('ChatParameters').implement({
  description: "How answers are chosen; null is the engine's default.",
  fields: (t) => ({
    temperature: t.float({ nullable: true, description: 'How daring, 0 to 2.', resolve: (parameters) => parameters.temperature ?? null }),
    topP: t.float({ nullable: true, description: 'Share of likely words that is considered, 0 to 1.', resolve: (parameters) => parameters.topP ?? null }),
    topK: t.int({ nullable: true, description: 'Number of likely words that is considered.', resolve: (parameters) => parameters.topK ?? null }),
    maxTokens: t.int({ nullable: true, description: 'Most tokens of an answer.', resolve: (parameters) => parameters.maxTokens ?? null }),
    stop: t.stringList({ nullable: true, description: 'Texts at which an answer ends.', resolve: ({ stop }) => (stop ? [...stop] : null) }),
    seed: t.int({ nullable: true, description: 'The same seed and input give the same answer where the engine can do that.', resolve: (parameters) => parameters.seed ?? null }),
    presencePenalty: t.float({ nullable: true, description: 'Against words that were used at all, -2 to 2.', resolve: (parameters) => parameters.presencePenalty ?? null }),
    frequencyPenalty: t.float({ nullable: true, description: 'Against words that were used often, -2 to 2.', resolve: (parameters) => parameters.frequencyPenalty ?? null }),
    repeatPenalty: t.float({ nullable: true, description: 'Against repetition, 0 to 2; 1 is none.', resolve: (parameters) => parameters.repeatPenalty ?? null }),
    responseFormat: t.field({ type: ResponseFormat, nullable: true, description: 'Form that answers have to have.', resolve: (parameters) => parameters.responseFormat ?? null }),
  }),
});

const formatRule = z
  .object({ type: z.string(), jsonSchema: z.unknown() })
  .partial()
  .refine((format) => format.type !== 'json_schema' || (typeof format.jsonSchema === 'object' && format.jsonSchema !== null && !Array.isArray(format.jsonSchema)), 'needs a jsonSchema object')
  .refine((format) => format.type === 'json_schema' || format.jsonSchema === undefined || format.jsonSchema === null, 'takes a jsonSchema only as JSON_SCHEMA')
  .nullish();

const ResponseFormatInput = builder.inputType('ResponseFormatInput', {
  description: 'Form that answers have to have.',
  fields: (t) => ({
    type: t.field({ type: ResponseFormatType, required: true, description: 'Which form.' }),
    jsonSchema: t.field({ type: 'JSON', description: 'The schema to follow, for `JSON_SCHEMA`.' }),
  }),
});

export const ChatParametersInput = builder.inputType('ChatParametersInput', {
  description: "How answers are chosen; what is left out is the engine's default. Out of range is refused.",
  fields: (t) => ({
    temperature: t.float({ description: 'How daring, 0 to 2.', validate: numberFrom(0, 2) }),
    topP: t.float({ description: 'Share of likely words that is considered, 0 to 1.', validate: numberFrom(0, 1) }),
    topK: t.int({ description: 'Number of likely words that is considered; 0 is all.', validate: wholeNumber(0, int32) }),
    maxTokens: t.int({ description: 'Most tokens of an answer, 1 to 16,777,216.', validate: wholeNumber(1, tokensMax) }),
    stop: t.stringList({
      description: `Texts at which an answer ends, at most ${stopMax}.`,
      validate: z.array(z.string().min(1, 'must not hold empty texts').max(stopLengthMax)).max(stopMax, `must not hold more than ${stopMax} items`).nullish(),
    }),
    seed: t.int({ description: 'The same seed and input give the same answer where the engine can do that.', validate: wholeNumber(0, int32) }),
    presencePenalty: t.float({ description: 'Against words that were used at all, -2 to 2.', validate: numberFrom(-2, 2) }),
    frequencyPenalty: t.float({ description: 'Against words that were used often, -2 to 2.', validate: numberFrom(-2, 2) }),
    repeatPenalty: t.float({ description: 'Against repetition, 0 to 2; 1 is none.', validate: numberFrom(0, 2) }),
    responseFormat: t.field({ type: ResponseFormatInput, description: 'Form that answers have to have.', validate: formatRule }),
  }),
});

function toResponseFormat({ type, jsonSchema }: typeof ResponseFormatInput.$inferInput): Format {
  // Checked above to be an object; the scalar's type does not say so.
  return type === 'json_schema' ? { type, jsonSchema: jsonSchema as Record<string, unknown> } : { type };
}

export function toParameters(input: typeof ChatParametersInput.$inferInput): Parameters {
  const { responseFormat, ...rest } = input;
  return { ...withoutNulls(rest), ...(responseFormat ? { responseFormat: toResponseFormat(responseFormat) } : {}) };
}
