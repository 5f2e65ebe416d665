import type { GraphQLSchema } from 'graphql';
import { auditMutations } from '../audited-fields.ts';
import { builder } from '../builder.ts';
import { guardScopes } from '../scoped-fields.ts';
import './common.ts';
import './user-error.ts';
import './catalog/queries.ts';
import './downloads/queries.ts';
import './downloads/mutations.ts';
import './downloads/limits.ts';
import './downloads/storage-mutations.ts';
import './deployments/queries.ts';
import './deployments/mutations.ts';
import './chat/queries.ts';
import './chat/import.ts';
import './chat/mutations.ts';
import './system/queries.ts';
import './system/alert-queries.ts';
import './system/alert-mutations.ts';
import './access/api-keys.ts';
import './access/audit-log.ts';

/** The whole schema; the imports above define its parts. */
export function buildSchema(): GraphQLSchema {
  // The log is outermost: what the scopes refuse is recorded, too.
  return auditMutations(guardScopes(builder.toSchema()));
}
