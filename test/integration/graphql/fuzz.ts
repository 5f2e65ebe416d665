import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import {
  buildSchema,
  isCompositeType,
  isEnumType,
  isInputObjectType,
  isLeafType,
  isListType,
  isNonNullType,
  isObjectType,
  isUnionType,
  getNamedType,
  type GraphQLField,
  type GraphQLInputType,
  type GraphQLOutputType,
} from 'graphql';
import { errorCodes } from '../../../src/shared/errors.ts';

export type GraphqlFuzzOptions = { url: string; key: string; runs: number; seed?: number; /** Things that exist. */ ids?: readonly string[]; modelIds?: readonly string[] };

const schema = buildSchema(readFileSync(new URL('../../../schema/schema.graphql', import.meta.url), 'utf8'));
/** What only our own insides could have put into an error. */
const insides = /node_modules|\bat [\w.<>]+ \(|\.ts:\d+|file:\/\/|Cannot read propert|is not a function|violates|syntax error at or near/i;
/** What a source, a runtime or a full disk causes; INTERNAL is never among them. */
const knownCodes = new Set<string>(errorCodes.filter((code) => code !== 'INTERNAL'));

const oddText = fc.oneof(
  fc.string({ maxLength: 40 }),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom('', '0', '-1', '../../../etc/passwd', '\0', "' or 1=1 --", '\u202e', '\ud800', '__proto__', 'x'.repeat(5000), '2026-01-01T00:00:00Z', '9'.repeat(30)),
);
const oddNumber = fc.oneof(fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true }), fc.constantFrom(-1, 0, 1, 2 ** 31, 2 ** 53, -(2 ** 53), 1e308, 0.1));

function scalarOf(name: string, options: GraphqlFuzzOptions): fc.Arbitrary<unknown> {
  const known = [...(options.ids ?? []), Buffer.from('ChatSession:x').toString('base64'), 'x'];
  switch (name) {
    case 'Int':
      return fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 1, max: 100 }) }, { weight: 1, arbitrary: oddNumber });
    case 'Float':
    case 'ByteSize':
      return fc.oneof(fc.integer({ min: 0, max: 4096 }), oddNumber);
    case 'Boolean':
      return fc.boolean();
    case 'ID':
      return fc.oneof(fc.constantFrom(...known), fc.uuid(), oddText);
    case 'ModelId':
      return fc.oneof(fc.constantFrom(...(options.modelIds ?? []), 'huggingface:acme/model', 'ollama:tiny:1b'), oddText);
    case 'DateTime':
      return fc.oneof(fc.constantFrom('2026-01-01T00:00:00Z', '2099-12-31T23:59:59.999+02:00'), oddText);
    case 'JSON':
      return fc.jsonValue({ maxDepth: 3 });
    default:
      return oddText;
  }
}

function inputOf(type: GraphQLInputType, options: GraphqlFuzzOptions): fc.Arbitrary<unknown> {
  if (isNonNullType(type)) return inputOf(type.ofType, options);
  const own = ((): fc.Arbitrary<unknown> => {
    if (isListType(type)) return fc.array(inputOf(type.ofType, options), { maxLength: 4 });
    if (isEnumType(type)) return fc.constantFrom(...type.getValues().map(({ name }) => name));
    if (!isInputObjectType(type)) return scalarOf(type.name, options);
    const fields = Object.values(type.getFields());
    const required = fields.filter((field) => isNonNullType(field.type)).map(({ name }) => name);
    return fc.record(Object.fromEntries(fields.map((field) => [field.name, inputOf(field.type, options)])), { requiredKeys: required });
  })();
  return fc.oneof({ weight: 25, arbitrary: own }, { weight: 1, arbitrary: fc.oneof(oddNumber, oddText, fc.constant(null), fc.jsonValue({ maxDepth: 2 })) });
}

/** Leaves of the answer, and one level below: enough for every resolver of the field itself to run. */
function selectionOf(type: GraphQLOutputType, depth: number): string {
  const named = getNamedType(type);
  if (isUnionType(named)) {
    const payloads = named.getTypes().filter((member) => member.name.endsWith('Payload'));
    return `{ __typename ... on UserError { code message path } ${payloads.map((member) => `... on ${member.name} ${selectionOf(member, depth)}`).join(' ')} }`;
  }
  if (!isObjectType(named)) return '{ __typename }';
  const isCallable = (field: GraphQLField<unknown, unknown>): boolean => field.args.every((argument) => !isNonNullType(argument.type) || argument.defaultValue !== undefined);
  const fields = Object.values(named.getFields()).filter(isCallable);
  const leaves = fields.filter((field) => isLeafType(getNamedType(field.type))).map(({ name }) => name);
  const below = depth === 0 ? [] : fields.filter((field) => isObjectType(getNamedType(field.type))).map((field) => `${field.name} ${selectionOf(field.type, depth - 1)}`);
  return `{ __typename ${[...leaves, ...below].join(' ')} }`;
}

type Operation = { query: string; variables: Record<string, unknown>; hasKey: boolean };

function operationOf(options: GraphqlFuzzOptions): fc.Arbitrary<Operation> {
  const queries = Object.values(schema.getQueryType()?.getFields() ?? {}).map((field) => ({ kind: 'query', field }));
  const mutations = Object.values(schema.getMutationType()?.getFields() ?? {}).map((field) => ({ kind: 'mutation', field }));
  return fc.constantFrom(...queries, ...mutations).chain(({ kind, field }) => {
    const declared = field.args.map(({ name, type }) => `$${name}: ${String(type)}`).join(', ');
    const given = field.args.map(({ name }) => `${name}: $${name}`).join(', ');
    const selection = isCompositeType(getNamedType(field.type)) ? ` ${selectionOf(field.type, 1)}` : '';
    const query = `${kind}${declared === '' ? '' : ` (${declared})`} { ${field.name}${given === '' ? '' : `(${given})`}${selection} }`;
    const required = field.args.filter(({ type }) => isNonNullType(type)).map(({ name }) => name);
    return fc.record({
      query: fc.constant(query),
      variables: fc.record(Object.fromEntries(field.args.map((argument) => [argument.name, inputOf(argument.type, options)])), { requiredKeys: required }),
      hasKey: fc.oneof({ weight: 9, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
    });
  });
}

type WireError = { message?: unknown; extensions?: { code?: unknown } };

function faultOf({ hasKey }: Operation, status: number, body: { data?: unknown; errors?: WireError[] }): string | null {
  if (!hasKey) return status === 401 && body.data === undefined ? null : 'answered without a key';
  if (status === 401) return 'a good key was refused';
  if (status >= 500) return 'a fault of ours';
  for (const { message, extensions } of body.errors ?? []) {
    if (typeof extensions?.code !== 'string' || !knownCodes.has(extensions.code)) return `an error with the code ${String(extensions?.code)}`;
    if (typeof message !== 'string' || insides.test(message)) return 'the error shows our insides';
  }
  return body.data === undefined && body.errors === undefined ? 'neither data nor errors' : null;
}

/** Asks every query and mutation with generated arguments; fails with the smallest one that is answered in a way nobody promised. */
export async function fuzzGraphql(options: GraphqlFuzzOptions): Promise<void> {
  await fc.assert(
    fc.asyncProperty(operationOf(options), async (operation) => {
      const response = await fetch(`${options.url}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', accept: 'application/json', ...(operation.hasKey && { authorization: `Bearer ${options.key}` }) },
        body: JSON.stringify({ query: operation.query, variables: operation.variables }),
      });
      const body = (await response.json()) as { data?: unknown; errors?: WireError[] };
      const fault = faultOf(operation, response.status, body);
      if (fault !== null) throw new Error(`${fault}: ${operation.query.slice(0, 300)} ${JSON.stringify(operation.variables)} -> ${response.status} ${JSON.stringify(body).slice(0, 800)}`);
    }),
    { numRuns: options.runs, ...(options.seed !== undefined && { seed: options.seed }) },
  );
}
