import { defineEntity, p } from '@mikro-orm/core';

const TokenUsageSchema = defineEntity({
  name: 'TokenUsage',
  tableName: 'token_usage',
  properties: {
    keyId: p.uuid().primary(),
    /** In UTC, e.g. `2026-01-31`. */
    day: p.string().primary(),
    tokens: p.bigint('number'),
  },
});

/** What the answers of a key with a limit took in one day. */
export class TokenUsage extends TokenUsageSchema.class {}
TokenUsageSchema.setClass(TokenUsage);
