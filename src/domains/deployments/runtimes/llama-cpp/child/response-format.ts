import { RequestError } from './request-error.ts';

export type ResponseFormat = { type: 'text' } | { type: 'json_object' } | { type: 'json_schema'; schema: Record<string, unknown> };

/** They describe and do not constrain, so a grammar may leave them out. */
const annotations: ReadonlySet<string> = new Set(['title', 'description', 'default', 'examples', '$schema', '$id', '$comment', 'deprecated', 'readOnly', 'writeOnly', 'strict']);
/** What node-llama-cpp turns into a grammar. `required` needs nothing: a grammar always writes every property. */
const constraints: ReadonlySet<string> = new Set([
  'type', 'properties', 'required', 'additionalProperties', 'minProperties', 'maxProperties', 'items', 'prefixItems', 'minItems', 'maxItems',
  'enum', 'const', 'oneOf', 'anyOf', '$ref', '$defs', 'definitions', 'minLength', 'maxLength', 'format',
]);
const formats: ReadonlySet<unknown> = new Set(['date-time', 'time', 'date']);
const depthMax = 32;
/** A grammar grows with its schema and is compiled on the thread that serves everybody. */
const schemaLengthMax = 64 * 1024;

const param = 'response_format';
const refuse = (message: string): RequestError => new RequestError(400, 'unsupported_response_format', `${param}: ${message}`, { param });

/** The schema in the form that the grammar generator reads; throws for a constraint that it would drop in silence. */
export function toGrammarSchema(schema: Record<string, unknown>): Record<string, unknown> {
  if (JSON.stringify(schema).length > schemaLengthMax) throw refuse(`the schema is longer than ${schemaLengthMax} characters.`);
  return convert(schema, 0);
}

function convert(schema: Record<string, unknown>, depth: number): Record<string, unknown> {
  if (depth > depthMax) throw refuse(`the schema is nested deeper than ${depthMax} levels.`);
  const result: Record<string, unknown> = {};
  for (const [keyword, value] of Object.entries(schema)) {
    if (annotations.has(keyword) || keyword === 'required') continue;
    if (!constraints.has(keyword)) throw refuse(`the keyword "${keyword}" is not supported by this engine.`);
    if (keyword === 'format' && !formats.has(value)) throw refuse(`the format ${JSON.stringify(value)} is not supported by this engine.`);
    result[renamed[keyword] ?? keyword] = convertValue(keyword, value, depth + 1);
  }
  if (typeof result['$ref'] === 'string') result['$ref'] = result['$ref'].replace(/^#\/definitions\//, '#/$defs/');
  return result;
}

const renamed: Readonly<Record<string, string>> = { anyOf: 'oneOf', definitions: '$defs' };

function convertValue(keyword: string, value: unknown, depth: number): unknown {
  switch (keyword) {
    case 'properties':
    case '$defs':
    case 'definitions': {
      const entries = Object.entries(asSchema(keyword, value));
      return Object.fromEntries(entries.map(([name, inner]) => [name, convert(asSchema(name, inner), depth)]));
    }
    case 'oneOf':
    case 'anyOf':
    case 'prefixItems':
      if (!Array.isArray(value)) throw refuse(`"${keyword}" must be a list of schemas.`);
      return value.map((inner) => convert(asSchema(keyword, inner), depth));
    case 'items':
      return convert(asSchema(keyword, value), depth);
    case 'additionalProperties':
      return typeof value === 'boolean' ? value : convert(asSchema(keyword, value), depth);
    default:
      return value;
  }
}

function asSchema(name: string, value: unknown): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw refuse(`"${name}" must be an object.`);
}
