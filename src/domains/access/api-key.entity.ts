import { defineEntity, p } from '@mikro-orm/core';
import { roles } from '../../shared/principal.ts';

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
    scopes: p.json<readonly string[]>(),
    expiresAt: p.datetime().nullable(),
    revokedAt: p.datetime().nullable(),
    lastUsedAt: p.datetime().nullable(),
    createdAt: p.datetime(),
  },
});

export class ApiKey extends ApiKeySchema.class {}
ApiKeySchema.setClass(ApiKey);
