import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import { getNamedType, getNullableType, isEnumType, isInputObjectType, isLeafType, isListType, isNonNullType, parse, type GraphQLField, type GraphQLInputType, type GraphQLSchema } from 'graphql';

export const unknownUuid = '01900000-0000-7000-8000-000000000077';
const globalId = Buffer.from(`DownloadTask:${unknownUuid}`).toString('base64');

function literalOf(type: GraphQLInputType): string {
  const inner = getNullableType(type);
  if (isListType(inner)) return `[${literalOf(inner.ofType)}]`;
  if (isEnumType(inner)) return inner.getValues()[0]!.name;
  if (isInputObjectType(inner)) {
    const given = Object.values(inner.getFields()).filter((field) => isNonNullType(field.type));
    return `{ ${given.map((field) => `${field.name}: ${literalOf(field.type)}`).join(', ')} }`;
  }
  const byName: Record<string, string> = { Int: '1', Float: '1', Boolean: 'true', ID: `"${unknownUuid}"`, ModelId: '"acme/none"', DateTime: '"2026-01-01T00:00:00Z"', String: '"text"', ByteSize: '4096' };
  return byName[inner.name] ?? '"x"';
}

/** An operation of one root field with what it needs to be called, and nothing more. */
export function documentOf(kind: string, field: GraphQLField<unknown, unknown>): TypedDocumentNode<unknown, Record<string, unknown>> {
  const required = field.args.filter((argument) => isNonNullType(argument.type));
  // Only these two take nothing but global ids.
  const isNode = field.name === 'node' || field.name === 'nodes';
  const given = required.map((argument) => `${argument.name}: ${isNode ? `"${globalId}"` : literalOf(argument.type)}`);
  const selection = isLeafType(getNamedType(field.type)) ? '' : ' { __typename }';
  return parse(`${kind} { ${field.name}${given.length > 0 ? `(${given.join(', ')})` : ''}${selection} }`);
}

/** Every field of `Query`, `Mutation` and `Subscription`, with the name of its root. */
export function rootFields(schema: GraphQLSchema): [string, GraphQLField<unknown, unknown>][] {
  const roots = [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()];
  return roots.flatMap((type) => Object.values(type?.getFields() ?? {}).map((field): [string, GraphQLField<unknown, unknown>] => [type?.name ?? '', field]));
}
