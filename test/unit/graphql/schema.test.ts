import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { getNamedType, isEnumType, isInputObjectType, isIntrospectionType, isObjectType, isInterfaceType, isUnionType, Kind, lexicographicSortSchema, parse, print, printSchema, validate, type DocumentNode, type GraphQLSchema } from 'graphql';
import { buildSchema } from '../../../src/adapters/graphql/schema/schema.ts';
import { errorCodes } from '../../../src/shared/errors.ts';
import { auditedMutations } from '../../../src/adapters/graphql/audited-fields.ts';
import { fieldScopes } from '../../../src/adapters/graphql/scoped-fields.ts';
import { rootFields } from '../../support/root-fields.ts';

const schemaFile = new URL('../../../schema/schema.graphql', import.meta.url);
const operationsFolder = new URL('../../../schema/operations/', import.meta.url);
const schema = buildSchema();

function operations(): DocumentNode {
  const definitions = readdirSync(operationsFolder)
    .filter((name) => name.endsWith('.graphql'))
    .flatMap((name) => parse(readFileSync(new URL(name, operationsFolder), 'utf8')).definitions);
  return { kind: Kind.DOCUMENT, definitions };
}

function undescribed(graph: GraphQLSchema): string[] {
  const missing: string[] = [];
  const check = (name: string, description: string | null | undefined): void => {
    if (!description?.trim()) missing.push(name);
  };
  for (const type of Object.values(graph.getTypeMap())) {
    if (isIntrospectionType(type) || ['Int', 'Float', 'String', 'Boolean', 'ID'].includes(type.name)) continue;
    check(type.name, type.description);
    if (isEnumType(type)) for (const value of type.getValues()) check(`${type.name}.${value.name}`, value.description);
    if (isInputObjectType(type)) for (const field of Object.values(type.getFields())) check(`${type.name}.${field.name}`, field.description);
    if (!isObjectType(type) && !isInterfaceType(type)) continue;
    for (const field of Object.values(type.getFields())) {
      check(`${type.name}.${field.name}`, field.description);
      for (const argument of field.args) check(`${type.name}.${field.name}(${argument.name})`, argument.description);
    }
  }
  return missing;
}

describe('the schema', () => {
  it('is printed in schema/schema.graphql as the code defines it', () => {
    expect(`${printSchema(lexicographicSortSchema(schema))}\n`).toBe(readFileSync(schemaFile, 'utf8'));
  });

  it('describes every type, field, argument and enum value', () => {
    expect(undescribed(schema)).toEqual([]);
  });

  it('holds the closed list of error codes', () => {
    const type = schema.getType('ErrorCode');
    expect(isEnumType(type) && new Set(type.getValues().map((value) => value.name))).toEqual(new Set(errorCodes));
  });

  it('takes one input for each mutation and answers a union named after it, with refusals that are user errors', () => {
    const userError = schema.getType('UserError');
    for (const field of Object.values(schema.getMutationType()!.getFields())) {
      const name = field.name.charAt(0).toUpperCase() + field.name.slice(1);
      expect(field.args.map((argument) => [argument.name, String(argument.type)])).toEqual([['input', `${name}Input!`]]);
      const result = getNamedType(field.type);
      expect(result.name).toBe(`${name}Result`);
      const members = isUnionType(result) ? result.getTypes() : [];
      const refusals = members.filter((member) => isInterfaceType(userError) && schema.isSubType(userError, member));
      expect(members.filter((member) => !refusals.includes(member)).map((member) => member.name)).toEqual([`${name}Payload`]);
    }
  });
});

describe('the operation documents', () => {
  it('fit the schema', () => {
    expect(validate(schema, operations()).map((error) => error.message)).toEqual([]);
  });

  it('are typed as they are written', async () => {
    const generated = (await import('../../../schema/generated/graphql.ts')) as Record<string, unknown>;
    const written = operations().definitions;
    const missing = written.filter((definition) => {
      if (definition.kind !== Kind.OPERATION_DEFINITION) return false;
      const document = generated[`${definition.name?.value ?? ''}Document`] as DocumentNode | undefined;
      const found = document?.definitions.find((candidate) => candidate.kind === Kind.OPERATION_DEFINITION);
      return !found || print(found) !== print(definition);
    });
    expect(missing.map((definition) => definition.kind === Kind.OPERATION_DEFINITION && definition.name?.value)).toEqual([]);
  });
});

describe('each field of the roots', () => {
  it('has its scope, and each mutation says what it is recorded as', () => {
    const names = rootFields(schema).map(([root, field]) => [root, field.name] as const);
    expect(names.filter(([root, name]) => !Object.hasOwn(fieldScopes, `${root}.${name}`))).toEqual([]);
    expect(names.filter(([root, name]) => root === 'Mutation' && !Object.hasOwn(auditedMutations, name))).toEqual([]);
  });
});
