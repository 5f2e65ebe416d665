import type { ApiKeyView, CreateApiKey, CreatedApiKey, NarrowKey } from '../../../../domains/access/types.ts';
import { isId } from '../../../../shared/ids.ts';
import { scopes, type KeyLimits, type Principal } from '../../../../shared/principal.ts';
import { builder } from '../../builder.ts';
import { principalOf } from '../../context.ts';
import { decodeGlobalId, toUuid } from '../../ids.ts';
import { payloadOf, resultOf } from '../mutation.ts';
import { ConflictError, InvalidStateError, NotFoundError, outcomeOf } from '../user-error.ts';
import { nameText, textList, textMax } from '../validation.ts';
import { Role } from './role.ts';

const role = 'ADMIN';

const ApiKeyLimits = builder.objectRef<KeyLimits>('ApiKeyLimits').implement({
  description: 'How much a key may be used.',
  fields: (t) => ({
    requestsPerMinute: t.exposeInt('requestsPerMinute', { nullable: true, description: 'HTTP requests and WebSocket operations a minute; null = without limit.' }),
    tokensPerDay: t.exposeInt('tokensPerDay', { nullable: true, description: 'Tokens of prompts and answers from midnight to midnight UTC; null = without limit.' }),
  }),
});

const ApiKey = builder.objectRef<ApiKeyView>('ApiKey');

builder.node(ApiKey, {
  description: 'A key to this service, without its secret.',
  authScopes: { role },
  id: { resolve: (key) => key.id },
  loadOne: async (id, { services }) => (isId(id) ? ((await services.access.listKeys()).find((key) => key.id === id) ?? null) : null),
  fields: (t) => ({
    keyId: t.exposeID('id', { description: 'Its plain UUID.' }),
    name: t.exposeString('name', { description: 'Its name.' }),
    owner: t.exposeString('owner', { description: 'Whom it belongs to; several keys may share an owner, and the sessions of that owner.' }),
    role: t.expose('role', { type: Role, description: 'What it may do.' }),
    prefix: t.exposeString('prefix', { description: 'How it begins, to tell keys apart.' }),
    scopes: t.stringList({ description: 'What it is narrowed to; none = all that its role has.', resolve: (key) => [...key.scopes] }),
    limits: t.expose('limits', { type: ApiKeyLimits, description: 'How much it may be used.' }),
    allowedDeployments: t.idList({ nullable: true, description: 'Plain UUIDs of the only deployments that it may see and use; null = all.', resolve: ({ allowedDeployments }) => (allowedDeployments === null ? null : [...allowedDeployments]) }),
    expiresAt: t.expose('expiresAt', { type: 'DateTime', nullable: true, description: 'When it stops working.' }),
    revokedAt: t.expose('revokedAt', { type: 'DateTime', nullable: true, description: 'When it was revoked.' }),
    lastUsedAt: t.expose('lastUsedAt', { type: 'DateTime', nullable: true, description: 'When it was last used.' }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was made.' }),
  }),
});

const Viewer = builder.objectRef<Principal>('Viewer').implement({
  description: 'Who asks.',
  fields: (t) => ({
    keyId: t.exposeID('keyId', { description: 'Plain UUID of the key.' }),
    owner: t.exposeString('owner', { description: 'Whom the key belongs to.' }),
    role: t.expose('role', { type: Role, description: 'What the key may do.' }),
    scopes: t.stringList({ description: 'What the key is narrowed to; none = all that its role has.', resolve: (viewer) => [...(viewer.scopes ?? [])] }),
  }),
});

function secretPayload(mutation: string, field: string) {
  return builder.objectRef<CreatedApiKey>(`${mutation}Payload`).implement({
    description: `What \`${field}\` answers.`,
    fields: (t) => ({
      key: t.expose('key', { type: ApiKey, description: 'The key.' }),
      secret: t.exposeString('secret', { description: 'What to send as `Authorization: Bearer ...`. Shown this once.' }),
    }),
  });
}

const scopeNames = `Of ${scopes.map((name) => `\`${name}\``).join(', ')}; a scope never gives more than the role.`;
const deploymentsText = 'The only deployments that it may see and use, by name or plain UUID; the UUID is kept. Such a key starts no new ones.';

const ApiKeyLimitsInput = builder.inputType('ApiKeyLimitsInput', {
  description: 'How much a key may be used; what is left out or null has no limit.',
  fields: (t) => ({
    requestsPerMinute: t.int({ description: 'HTTP requests and WebSocket operations a minute, 1 to 1,000,000.' }),
    tokensPerDay: t.int({ description: 'Tokens of prompts and answers from midnight to midnight UTC, 1 or more.' }),
  }),
});

const CreateApiKeyInput = builder.inputType('CreateApiKeyInput', {
  description: 'The new key.',
  fields: (t) => ({
    name: t.string({ required: true, description: 'Its name.', validate: nameText(textMax.name) }),
    owner: t.string({ required: true, description: 'Whom it belongs to.', validate: nameText(textMax.name) }),
    role: t.field({ type: Role, required: true, description: 'What it may do.' }),
    scopes: t.stringList({ description: `What to narrow it to; default: all that its role has. ${scopeNames}`, validate: textList(textMax.name) }),
    limits: t.field({ type: ApiKeyLimitsInput, description: 'How much it may be used; default: without limits.' }),
    allowedDeployments: t.stringList({ description: deploymentsText, validate: textList(textMax.name) }),
    expiresAt: t.field({ type: 'DateTime', description: 'When it stops working; default: never.' }),
  }),
});
const RevokeApiKeyInput = builder.inputType('RevokeApiKeyInput', {
  description: 'Which key stops working.',
  fields: (t) => ({ keyId: t.id({ required: true, description: 'The key: plain UUID or global id.' }) }),
});
const RotateApiKeyInput = builder.inputType('RotateApiKeyInput', {
  description: 'Which key gets a new secret, and what changes about it; what is left out stays.',
  fields: (t) => ({
    keyId: t.id({ required: true, description: 'The key: plain UUID or global id.' }),
    scopes: t.stringList({ description: `What to narrow it to from now on; an empty list = all that its role has. ${scopeNames}`, validate: textList(textMax.name) }),
    limits: t.field({ type: ApiKeyLimitsInput, description: 'Its limits from now on, all of them.' }),
    allowedDeployments: t.stringList({ description: deploymentsText, validate: textList(textMax.name) }),
  }),
});

type NarrowInput = Pick<typeof RotateApiKeyInput.$inferInput, 'scopes' | 'limits' | 'allowedDeployments'>;

function toNarrowKey({ scopes: given, limits, allowedDeployments }: NarrowInput): NarrowKey {
  return { ...(given ? { scopes: given } : {}), ...(limits ? { limits: { ...limits } } : {}), ...(allowedDeployments ? { allowedDeployments: allowedDeployments.map(plainDeployment) } : {}) };
}

/** A name stays a name; a global id stands for the plain one. */
function plainDeployment(nameOrId: string): string {
  const decoded = decodeGlobalId(nameOrId);
  return decoded?.typename === 'Deployment' ? decoded.id : nameOrId;
}

function toCreateApiKey(input: typeof CreateApiKeyInput.$inferInput): CreateApiKey {
  const { name, owner, role: given, expiresAt } = input;
  return { name, owner, role: given, ...toNarrowKey(input), ...(expiresAt ? { expiresAt } : {}) };
}

builder.queryField('apiKeys', (t) =>
  t.field({
    type: [ApiKey],
    authScopes: { role },
    description: 'All keys, without their secrets.',
    resolve: async (_root, _args, { services }) => [...(await services.access.listKeys())],
  }),
);

builder.queryField('viewer', (t) =>
  t.field({ type: Viewer, authScopes: { role: 'VIEWER' }, description: 'Who asks.', resolve: (_root, _args, context) => principalOf(context) }),
);

builder.mutationField('createApiKey', (t) =>
  t.field({
    type: secretPayload('CreateApiKey', 'createApiKey'),
    authScopes: { role },
    description: 'Makes a key. Its secret is shown this once.',
    args: { input: t.arg({ type: CreateApiKeyInput, required: true, description: 'The new key.' }) },
    errors: resultOf('CreateApiKey', [ConflictError]),
    resolve: (_root, { input }, context) => outcomeOf(() => context.services.access.createKey(toCreateApiKey(input), principalOf(context))),
  }),
);

builder.mutationField('revokeApiKey', (t) =>
  t.field({
    type: payloadOf('RevokeApiKey', 'key', ApiKey),
    authScopes: { role },
    description: 'Makes a key stop working at once; what it has open is closed.',
    args: { input: t.arg({ type: RevokeApiKeyInput, required: true, description: 'Which one.' }) },
    errors: resultOf('RevokeApiKey', [NotFoundError, InvalidStateError]),
    resolve: (_root, { input }, context) => outcomeOf(async () => ({ key: await context.services.access.revokeKey(toUuid('ApiKey', input.keyId), principalOf(context)) })),
  }),
);

builder.mutationField('rotateApiKey', (t) =>
  t.field({
    type: secretPayload('RotateApiKey', 'rotateApiKey'),
    authScopes: { role },
    description: 'Gives a key a new secret, and other scopes, limits or deployments where they are given; the old one stops working at once.',
    args: { input: t.arg({ type: RotateApiKeyInput, required: true, description: 'Which one.' }) },
    errors: resultOf('RotateApiKey', [NotFoundError, InvalidStateError]),
    resolve: (_root, { input }, context) => outcomeOf(() => context.services.access.rotateKey(toUuid('ApiKey', input.keyId), principalOf(context), toNarrowKey(input))),
  }),
);
