import type { EnumRef } from '@pothos/core';
import { builder, type SchemaTypes } from './builder.ts';

/** `on_failure` is `ON_FAILURE` in GraphQL; the way back is to lower-case. */
export function enumNameOf(value: string): string {
  return value.toUpperCase().replaceAll('-', '_');
}

/** An enum whose GraphQL names are its values in upper case; the record makes sure that each is described. */
export function enumOf<Value extends string>(name: string, description: string, descriptions: Readonly<Record<Value, string>>): EnumRef<SchemaTypes, Value> {
  const values = Object.fromEntries(Object.entries<string>(descriptions).map(([value, text]) => [enumNameOf(value), { value, description: text }]));
  // fromEntries forgets the literal keys that the parameter's own type holds.
  return builder.enumType(name, { description, values }) as EnumRef<SchemaTypes, Value>;
}
