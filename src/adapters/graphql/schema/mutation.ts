import type { ObjectRef } from '@pothos/core';
import type { AppError } from '../../../shared/errors.ts';
import { builder, type SchemaTypes } from '../builder.ts';
import type { UserError } from './user-error.ts';

type UserErrorClass = new (error: AppError) => UserError;

function fieldNameOf(mutation: string): string {
  return mutation.charAt(0).toLowerCase() + mutation.slice(1);
}

/** The result union of a mutation: its payload or one of the refusals. */
export function resultOf(mutation: string, types: UserErrorClass[]) {
  return { types, directResult: true, union: { name: `${mutation}Result`, description: `What came of \`${fieldNameOf(mutation)}\`: its payload or a refusal.` } } as const;
}

/** `<mutation>Payload` with one thing in it. */
export function payloadOf<Field extends string, Thing extends object>(mutation: string, field: Field, thing: ObjectRef<SchemaTypes, Thing>) {
  return builder.objectRef<Record<Field, Thing>>(`${mutation}Payload`).implement({
    description: `What \`${fieldNameOf(mutation)}\` answers when it is done.`,
    fields: (t) => ({ [field]: t.field({ type: thing, description: 'As it is now.', resolve: (payload) => payload[field] as never }) }),
  });
}
