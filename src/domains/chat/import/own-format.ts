import * as z from 'zod';
import { errorCodes, validationFailed } from '../../../shared/errors.ts';
import { fromOpenAiSampling } from '../../../shared/sampling.ts';
import { tokenCountMax } from '../generation/answer-meter.ts';
import { parametersSchema } from '../parameters.ts';
import type { ChatParameters } from '../types.ts';
import type { Conversation } from './conversation.ts';
import { parseFile } from './parse-file.ts';

export const ownFormat = 'llm-manager.chat';
/** Raised when a reader of an older file would misread a newer one; new fields alone do not raise it. */
export const ownVersion = 1;

const count = z.int().min(0).max(tokenCountMax);
const time = z.iso.datetime({ offset: true }).transform((text) => new Date(text)).refine(isOfOurCalendar, 'must be in one of the years 1 to 9999');
const snakeParameters = z.record(z.string(), z.unknown()).transform(toParameters);

const message = z.object({
  message_id: z.string(),
  parent_id: z.string().nullable(),
  role: z.enum(['user', 'assistant']),
  content: z.string(),
  deployment_id: z.string().nullish(),
  model_id: z.string().nullish(),
  status: z.enum(['streaming', 'completed', 'stopped', 'interrupted', 'failed']),
  parameters: snakeParameters.optional(),
  usage: z.object({ prompt_tokens: count.nullable(), completion_tokens: count, time_to_first_token_ms: z.number().min(0).nullable(), tokens_per_second: z.number().min(0).nullable(), messages_left_out: count.nullish() }).nullish(),
  finish_reason: z.enum(['stop', 'length', 'stopped', 'error']).nullish(),
  error: z.object({ code: z.enum(errorCodes), message: z.string().max(2_000) }).nullish(),
  created_at: time,
  finished_at: time.nullish(),
});

const file = z.object({
  format: z.literal(ownFormat),
  version: z.int(),
  session: z.object({
    title: z.string(),
    system_prompt: z.string().nullish(),
    parameters: snakeParameters.optional(),
    deployment_ids: z.array(z.string()).max(64).optional(),
    created_at: time.optional(),
  }),
  messages: z.array(message),
});

export function isOwnFormat(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'format' in value && value.format === ownFormat;
}

export function readOwnFormat(value: unknown): Conversation[] {
  const { version, session, messages } = parseFile(file, value);
  if (version > ownVersion) throw validationFailed([{ field: 'content', message: `was written by a newer version (format ${version}, this service reads ${ownVersion})` }]);
  return [
    {
      title: session.title,
      systemPrompt: session.system_prompt ?? null,
      parameters: session.parameters ?? {},
      deploymentIds: session.deployment_ids ?? [],
      createdAt: session.created_at ?? null,
      messages: messages.map((row) => ({
        key: row.message_id,
        parentKey: row.parent_id,
        role: row.role,
        content: row.content,
        deploymentId: row.deployment_id ?? null,
        modelId: row.model_id ?? null,
        // Its maker cannot go on with it.
        status: row.status === 'streaming' ? 'interrupted' : row.status,
        parameters: row.parameters ?? {},
        usage: row.usage
          ? { promptTokens: row.usage.prompt_tokens, completionTokens: row.usage.completion_tokens, timeToFirstTokenMs: row.usage.time_to_first_token_ms, tokensPerSecond: row.usage.tokens_per_second, messagesLeftOut: row.usage.messages_left_out ?? null }
          : null,
        finishReason: row.finish_reason ?? null,
        error: row.error ?? null,
        createdAt: row.created_at,
        finishedAt: row.finished_at ?? null,
      })),
    },
  ];
}

/** Years that a database and an ISO 8601 text both hold. */
function isOfOurCalendar(date: Date): boolean {
  const year = date.getUTCFullYear();
  return year >= 1 && year <= 9999;
}

/** Those that are known and in range; a file of elsewhere may hold others. */
function toParameters(given: Readonly<Record<string, unknown>>): ChatParameters {
  const all: Record<string, unknown> = { ...fromOpenAiSampling(given), maxTokens: given['max_tokens'], stop: given['stop'], responseFormat: toFormat(given['response_format']) };
  const entries = Object.entries(all).filter(([name, value]) => value !== undefined && value !== null && parametersSchema.safeParse({ [name]: value }).success);
  return Object.fromEntries(entries);
}

function toFormat(format: unknown): unknown {
  if (typeof format !== 'object' || format === null || !('json_schema' in format) || !('type' in format)) return format;
  return { type: format.type, jsonSchema: format.json_schema };
}
