import { GraphQLError, Kind, type ValueNode } from 'graphql';
import { modelIdOf, parseOwnModelRef } from '../../domains/catalog/model-ref.ts';
import { AppError } from '../../shared/errors.ts';
import { isStorable } from '../../shared/storable.ts';

const digestPattern = /^sha256:[0-9a-f]{64}$/;
/** Deeper values than this are refused, so that no later walk over one can run out of stack. */
const jsonDepthMax = 32;
// Date.parse accepts far more than ISO 8601; only the form that RFC 3339 shares with it is taken.
const dateTimePattern = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})$/;

function refuse(message: string): never {
  throw new GraphQLError(message);
}

export function parseDateTime(value: unknown): Date {
  if (typeof value !== 'string' || !dateTimePattern.test(value)) refuse('must be an ISO 8601 time such as 2026-01-31T12:00:00Z');
  const date = new Date(value);
  return Number.isNaN(date.getTime()) ? refuse('must be a time that exists') : date;
}

/** Services give times as Date, sources as text; what is no time at all is a fault of ours. */
export function serializeDateTime(value: unknown): string {
  const date = value instanceof Date ? value : new Date(String(value));
  return date.toISOString();
}

export function parseByteSize(value: unknown): number {
  const size = typeof value === 'bigint' ? Number(value) : typeof value === 'string' && /^\d{1,16}$/.test(value) ? Number(value) : value;
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) refuse(`must be a whole number of bytes from 0 to ${Number.MAX_SAFE_INTEGER}`);
  return size;
}

export function serializeByteSize(value: unknown): number {
  const size = Number(value);
  return Number.isFinite(size) ? Math.max(0, Math.min(Math.round(size), Number.MAX_SAFE_INTEGER)) : 0;
}

export function parseDigest(value: unknown): string {
  return typeof value === 'string' && digestPattern.test(value) ? value : refuse('must be sha256: and 64 lower-case hexadecimal digits');
}

/** Rows hold bare hexadecimal digits, sources the whole form. */
export function serializeDigest(value: unknown): string {
  const text = String(value);
  return text.startsWith('sha256:') ? text : `sha256:${text}`;
}

/** Checks the form, be it of what only an Ollama server has; the text itself goes on, because a revision in it matters to downloads. */
export function parseModelId(value: unknown): string {
  if (typeof value !== 'string') refuse('must be huggingface:org/name[@revision] or ollama:name[:tag]');
  try {
    modelIdOf(parseOwnModelRef(value));
    return value;
  } catch (error) {
    if (error instanceof AppError) refuse('must be huggingface:org/name[@revision] or ollama:name[:tag]');
    throw error;
  }
}

/** The database takes neither NUL nor half a character, as little in JSON as in text. */
function assertStorable(value: unknown): void {
  if (typeof value === 'string' && !isStorable(value)) refuse('must not contain NUL or broken characters');
}

function assertDepth(value: unknown, depth: number): void {
  if (depth > jsonDepthMax) refuse(`must not be nested deeper than ${jsonDepthMax} levels`);
  assertStorable(value);
  if (typeof value !== 'object' || value === null) return;
  for (const [key, item] of Object.entries(value)) {
    assertStorable(key);
    if (key === '__proto__' || key === 'constructor' || key === 'prototype') refuse(`must not have a member named ${key}`);
    assertDepth(item, depth + 1);
  }
}

export function parseJson(value: unknown): unknown {
  assertDepth(value, 0);
  return value;
}

/** A literal in a document as the value it stands for. */
export function jsonOfLiteral(node: ValueNode, variables: Readonly<Record<string, unknown>> | null | undefined): unknown {
  switch (node.kind) {
    case Kind.NULL:
      return null;
    case Kind.INT:
    case Kind.FLOAT:
      return Number(node.value);
    case Kind.STRING:
    case Kind.BOOLEAN:
    case Kind.ENUM:
      return node.value;
    case Kind.VARIABLE:
      return variables?.[node.name.value];
    case Kind.LIST:
      return node.values.map((item) => jsonOfLiteral(item, variables));
    case Kind.OBJECT:
      return Object.fromEntries(node.fields.map((field) => [field.name.value, jsonOfLiteral(field.value, variables)]));
  }
}
