import { snakeCase } from './json-case.ts';

export type Json = Record<string, unknown>;

/** Fields whose values are enums: upper case in GraphQL, lower case in REST. Codes of errors are upper case in both. */
const enumFields = new Set([
  'status',
  'verification',
  'desiredStatus',
  'role',
  'finishReason',
  'verdict',
  'format',
  'formats',
  'level',
  'stream',
  'purpose',
  'target',
  'securityStatus',
  'policy',
  'override',
  'type',
]);

/** Maps whose names and values are the user's own. */
const freeFields = new Set(['environment', 'details', 'jsonSchema']);

function viewField(name: string, value: unknown): unknown {
  if (freeFields.has(name)) return value;
  if (!enumFields.has(name)) return viewValue(value);
  if (typeof value === 'string') return value.toLowerCase();
  return Array.isArray(value) ? value.map((item: unknown) => (typeof item === 'string' ? item.toLowerCase() : viewValue(item))) : viewValue(value);
}

function viewValue(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(viewValue);
  return typeof value === 'object' && value !== null ? toRestJson(value) : value;
}

/** A GraphQL answer in REST's words: snake_case names, lower-case enum values. */
export function toRestJson(value: object): Json {
  const view: Json = {};
  for (const [name, item] of Object.entries(value) as [string, unknown][]) {
    if (name !== '__typename') view[snakeCase(name)] = viewField(name, item);
  }
  return view;
}

/** A REST value as GraphQL's enum value. */
export function toEnum<Value extends string>(text: Value): Uppercase<Value> {
  // toUpperCase forgets the literal type that Uppercase<> describes.
  return text.toUpperCase() as Uppercase<Value>;
}

type Connection<Item> = { items: readonly Item[]; pageInfo: { endCursor?: string | null | undefined; hasNextPage: boolean }; total?: number | null | undefined };

/** A connection as REST's list. */
export function toList<Item extends object>(connection: Connection<Item>, view: (item: Item) => Json = toRestJson): Json {
  const { items, pageInfo, total } = connection;
  return { items: items.map(view), next_cursor: pageInfo.hasNextPage ? (pageInfo.endCursor ?? null) : null, total: total ?? null };
}

/** Fields that were never set are left out, so that what was sent is what comes back. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value) || typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== null && item !== undefined)
      .map(([name, item]: [string, unknown]) => [name, freeFields.has(name) || name === 'json_schema' ? item : withoutNulls(item)]),
  );
}

export function deploymentView(deployment: object): Json {
  const view = toRestJson(deployment);
  return { ...view, config: withoutNulls(view['config']) };
}

/** Messages and sessions: both show the parameters that were given. */
export function chatView(messageOrSession: object): Json {
  const view = toRestJson(messageOrSession);
  return { ...view, parameters: withoutNulls(view['parameters']) };
}
