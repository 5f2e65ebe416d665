import { defineEntity, p } from '@mikro-orm/core';
import { roles, type Scope } from '../../shared/principal.ts';

const ApiKeySchema = defineEntity({
  name: 'ApiKey',
  tableName: 'api_keys',
  properties: {
    id: p.uuid().primary(),
    name: p.string(),
    owner: p.string(),
    role: p.enum(roles),
    /** Public part of the key, by which it is looked up. */
    prefix: p.string().unique(),
    /** SHA-256 of the whole key, hex: 32 random bytes need no slow hash. */
    hash: p.string().hidden(),
    /** Hashes that rotation has replaced: a start must not bring one of them back. Newest last, bounded. */
    retiredHashes: p.json<readonly string[]>().hidden(),
    /** Empty = all that the role has. */
    scopes: p.json<readonly Scope[]>(),
    requestsPerMinute: p.integer().strictNullable(),
    tokensPerDay: p.integer().strictNullable(),
    /** Ids of deployments; null = all. */
    allowedDeployments: p.json<readonly string[]>().strictNullable(),
    expiresAt: p.datetime().strictNullable(),
    revokedAt: p.datetime().strictNullable(),
    lastUsedAt: p.datetime().strictNullable(),
    createdAt: p.datetime(),
  },
});

export class ApiKey extends ApiKeySchema.class {}
ApiKeySchema.setClass(ApiKey);
