import { z } from 'zod';
import { AppError, validationFailed, type FieldFault } from '../../shared/errors.ts';
import { isId } from '../../shared/ids.ts';
import { snakeCase } from '../../shared/json-case.ts';
import { isStorable } from '../../shared/storable.ts';
import { parametersSchema } from './parameters.ts';
import { storableText } from './storable-text.ts';
import { deploymentsMax, type ChatParameters, type CreateSession, type SendMessage } from './types.ts';

/** Of one message, in bytes of UTF-8. */
export const messageBytesMax = 1024 * 1024;
export const systemPromptLengthMax = 64 * 1024;
export const titleLengthMax = 200;
const searchLengthMax = 200;

const title = storableText(titleLengthMax).refine((text) => text.trim() !== '', 'must not be empty');
const deploymentIds = z
  .array(z.string())
  .max(deploymentsMax, `must not name more than ${deploymentsMax} deployments`)
  .refine((ids) => new Set(ids.map((id) => id.toLowerCase())).size === ids.length, 'must not name a deployment twice');

const sessionFields = {
  title: title.optional(),
  deploymentIds: deploymentIds.optional(),
  systemPrompt: storableText(systemPromptLengthMax).optional(),
  parameters: parametersSchema.optional(),
};
const sessionSchema = z.strictObject(sessionFields);

const sendSchema = z.strictObject({
  sessionId: z.string().optional(),
  deploymentIds: deploymentIds.min(1, 'must name at least one').optional(),
  message: z.string(),
  parameters: parametersSchema.optional(),
  parentId: z.string().optional(),
  idempotencyKey: z.string().regex(/^[\x21-\x7e]{1,200}$/, 'must be 1 to 200 printable ASCII characters').optional(),
});

export function parseSessionInput(input: CreateSession): CreateSession {
  return parse(sessionSchema, input) as CreateSession;
}

export function parseSend(input: SendMessage): SendMessage {
  const parsed = parse(sendSchema, input) as SendMessage;
  parseMessageText(parsed.message);
  return parsed;
}

/** Throws PAYLOAD_TOO_LARGE or VALIDATION_FAILED for a text that cannot be a user's message. */
export function parseMessageText(text: string): string {
  if (Buffer.byteLength(text, 'utf8') > messageBytesMax) {
    throw new AppError('PAYLOAD_TOO_LARGE', `A message may have ${messageBytesMax} bytes.`, { details: { max_bytes: messageBytesMax } });
  }
  if (text.trim() === '') throw validationFailed([{ field: 'message', message: 'must not be empty' }]);
  if (!isStorable(text)) throw validationFailed([{ field: 'message', message: 'must not contain NUL or broken characters' }]);
  return text;
}

export function parseParameters(parameters: ChatParameters | undefined): ChatParameters {
  return (parse(z.strictObject({ parameters: parametersSchema.optional() }), { parameters }).parameters ?? {}) as ChatParameters;
}

export function parseSearch(search: string | undefined): string | undefined {
  const text = search?.trim();
  if (!text) return undefined;
  if (text.length > searchLengthMax || !isStorable(text)) throw validationFailed([{ field: 'search', message: `must be at most ${searchLengthMax} plain characters` }]);
  return text;
}

/** `after` of a stream: the last index that the reader has. */
export function parseAfter(after: number): number {
  if (Number.isSafeInteger(after) && after >= -1) return after;
  throw validationFailed([{ field: 'after', message: 'must be a whole number, -1 or more' }]);
}

/** Postgres would answer a malformed id with an error; here it is as good as missing. */
export function knownShape(id: string): string | null {
  return isId(id) ? id.toLowerCase() : null;
}

function parse<Schema extends z.ZodType>(schema: Schema, input: unknown): z.infer<Schema> {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  throw validationFailed(parsed.error.issues.flatMap(toFaults));
}

/** Faults name fields as REST does. */
function toFaults(issue: z.core.$ZodIssue): FieldFault[] {
  const path = issue.path.map((part) => snakeCase(String(part)));
  if (issue.code !== 'unrecognized_keys') return [{ field: path.join('.'), message: issue.message }];
  return issue.keys.map((key) => ({ field: [...path, snakeCase(key)].join('.'), message: 'is not known' }));
}
