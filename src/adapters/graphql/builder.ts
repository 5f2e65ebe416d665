import SchemaBuilder from '@pothos/core';
import ComplexityPlugin from '@pothos/plugin-complexity';
import DataloaderPlugin from '@pothos/plugin-dataloader';
import ErrorsPlugin from '@pothos/plugin-errors';
import RelayPlugin from '@pothos/plugin-relay';
import ScopeAuthPlugin from '@pothos/plugin-scope-auth';
import ValidationPlugin from '@pothos/plugin-validation';
import { z } from 'zod';
import { AppError, validationFailed } from '../../shared/errors.ts';
import { hasRole, type Role } from '../../shared/principal.ts';
import { recordDenied } from '../http/origin.ts';
import type { GraphqlContext } from './context.ts';
import { decodeGlobalId } from './ids.ts';

type SchemaShape = {
  Context: GraphqlContext;
  AuthScopes: { /** The weakest role that may see the field. */ role: Role };
  DefaultFieldNullability: false;
  Scalars: {
    DateTime: { Input: Date; Output: Date | string };
    ByteSize: { Input: number; Output: number };
    Digest: { Input: string; Output: string };
    ModelId: { Input: string; Output: string };
    JSON: { Input: unknown; Output: unknown };
    ID: { Input: string; Output: string };
  };
};

/** The list of a type whose length nobody asked for: files of a model, tags, devices. Only weighs the cost. */
const listMultiplier = 10;
const nodesMax = 100;

function pathOf(path: readonly (PropertyKey | { key: PropertyKey })[] | undefined): string {
  return (path ?? []).map((part) => String(typeof part === 'object' ? part.key : part)).join('.') || 'input';
}

/** A type that there is not is as wrong as text that is no id; without this it would count as a fault of ours. */
function decodeNodeId(text: string): { typename: string; id: string } {
  const decoded = decodeGlobalId(text);
  if (decoded !== null && decoded.id !== '' && builder.configStore.hasConfig(decoded.typename)) return decoded;
  throw validationFailed([{ field: 'id', message: 'is not a global id' }]);
}

/** The definitions of the schema; it holds no state of a running service. */
export const builder = new SchemaBuilder<SchemaShape>({
  defaultFieldNullability: false,
  // Authorisation is outermost: nobody learns from a validation or a typed error what they may not see.
  plugins: [ScopeAuthPlugin, ErrorsPlugin, RelayPlugin, ValidationPlugin, DataloaderPlugin, ComplexityPlugin],
  scopeAuth: {
    authorizeOnSubscribe: true,
    authScopes: ({ principal }) => ({ role: (needed) => principal !== null && hasRole(principal, needed) }),
    unauthorizedError: (_parent, { principal, origin, services }, info) => {
      if (!principal) return new AppError('UNAUTHENTICATED', 'A good API key is needed.');
      // What was refused of the mutations is recorded as what it would have been.
      if (info.parentType.name !== 'Mutation') recordDenied(services.auditLog, principal, { kind: 'field', id: `${info.parentType.name}.${info.fieldName}` }, origin);
      return new AppError('FORBIDDEN', `The role ${principal.role} may not do this.`);
    },
  },
  validation: {
    validationError: ({ issues }) => validationFailed(issues.map(({ path, message }) => ({ field: pathOf(path), message }))),
  },
  // The limit is checked before execution, for subscriptions too (see limits.ts).
  complexity: { disabled: true, defaultComplexity: 1, defaultListMultiplier: listMultiplier },
  errors: { defaultTypes: [], directResult: true },
  relay: {
    decodeGlobalID: (globalId) => decodeNodeId(globalId),
    cursorType: 'String',
    idFieldOptions: { description: 'Global id, for `node`.' },
    nodeTypeOptions: { description: 'Anything that has a global id.' },
    nodeQueryOptions: {
      description: 'Whatever has this global id, or null.',
      authScopes: { role: 'VIEWER' },
      args: { id: { description: 'Global id.' } },
    },
    nodesQueryOptions: {
      description: `Many at once, at most ${nodesMax}, in the order of the ids.`,
      authScopes: { role: 'VIEWER' },
      complexity: ({ ids }) => ({ field: 1, multiplier: ids.length }),
      args: { ids: { description: 'Global ids.', validate: z.array(z.unknown()).max(nodesMax, `must not name more than ${nodesMax} things`) } },
    },
  },
});

export type SchemaTypes = typeof builder.$inferSchemaTypes;
