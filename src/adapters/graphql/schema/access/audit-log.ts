import type { AuditActor, AuditEntryView } from '../../../../domains/access/audit/types.ts';
import type { AuditOutcome as Outcome, AuditTarget } from '../../../../shared/audit-log.ts';
import { isId } from '../../../../shared/ids.ts';
import { builder } from '../../builder.ts';
import { connectionOf, pageArgs, pageCost, toConnection, toPageRequest } from '../../connection.ts';
import { enumOf } from '../../enums.ts';
import { decodeGlobalId } from '../../ids.ts';
import { openStream } from '../../stream.ts';
import { ErrorCode } from '../error-code.ts';
import { nameText } from '../validation.ts';
import { Role } from './role.ts';

const role = 'ADMIN';
const filterLengthMax = 512;

const AuditOutcome = enumOf<Outcome>('AuditOutcome', 'What came of it.', {
  succeeded: 'It was done.',
  denied: 'It was refused for want of a good key or of rights.',
  failed: 'It was not done, for the reason of its error code.',
});

const AuditActorType = builder.objectRef<AuditActor>('AuditActor').implement({
  description: 'Whose key it was, as it was then.',
  fields: (t) => ({
    keyId: t.exposeID('keyId', { description: 'Plain UUID of the key.' }),
    owner: t.exposeString('owner', { description: 'Whom the key belonged to.' }),
    name: t.exposeString('name', { nullable: true, description: 'Name of the key.' }),
    role: t.expose('role', { type: Role, description: 'Its role.' }),
  }),
});

const AuditTargetType = builder.objectRef<AuditTarget>('AuditTarget').implement({
  description: 'What it was done to.',
  fields: (t) => ({
    kind: t.exposeString('kind', { description: 'E.g. `deployment`, `download`, `api_key`.' }),
    targetId: t.exposeID('id', { nullable: true, description: 'Its plain id, where it is one thing and was known.' }),
  }),
});

const AuditEntry = builder.objectRef<AuditEntryView>('AuditEntry');

builder.node(AuditEntry, {
  description: 'What was done, or tried, through the API.',
  authScopes: { role },
  id: { resolve: (entry) => entry.id },
  loadOne: async (id, { services }) => (isId(id) ? await services.auditTrail.find(id) : null),
  fields: (t) => ({
    entryId: t.exposeID('id', { description: 'Its plain UUID.' }),
    at: t.expose('at', { type: 'DateTime', description: 'When.' }),
    actor: t.expose('actor', { type: AuditActorType, nullable: true, description: 'Who; null when no good key was shown.' }),
    action: t.exposeString('action', { description: 'What, from a closed list, e.g. `deployment.start`.' }),
    target: t.expose('target', { type: AuditTargetType, nullable: true, description: 'To what.' }),
    outcome: t.expose('outcome', { type: AuditOutcome, description: 'What came of it.' }),
    errorCode: t.expose('errorCode', { type: ErrorCode, nullable: true, description: 'Why it was not done.' }),
    count: t.exposeInt('count', { description: 'How many equal ones of the same minute this entry stands for; more than 1 only for what was not done.' }),
    requestId: t.exposeString('requestId', { description: 'Id of the request, as in its `X-Request-Id` and in the log.' }),
    peerAddress: t.exposeString('peerAddress', { nullable: true, description: 'Address of the other end of the connection; behind a proxy its address.' }),
  }),
});

const AuditEntryConnection = connectionOf('AuditEntry', AuditEntry, 'entries of the audit log');

/** A global id stands for the plain one. */
function plain(text: string): string {
  const id = decodeGlobalId(text)?.id;
  return id !== undefined && isId(id) ? id : text;
}

const filterText = nameText(filterLengthMax);

builder.queryField('auditLog', (t) =>
  t.field({
    type: AuditEntryConnection,
    authScopes: { role },
    complexity: pageCost,
    description: 'What was done through the API, newest first.',
    args: {
      ...pageArgs,
      actor: t.arg.string({ description: 'Only of this key (plain UUID or global id) or owner.', validate: filterText }),
      action: t.arg.string({ description: 'Only this action, e.g. `deployment.start`, or this group, e.g. `deployment`.', validate: filterText }),
      target: t.arg.string({ description: 'Only about this thing (plain or global id), or this kind of things.', validate: filterText }),
      since: t.arg({ type: 'DateTime', description: 'Only from this time on.' }),
      until: t.arg({ type: 'DateTime', description: 'Only before this time.' }),
    },
    resolve: async (_root, args, { services }, info) => {
      const { actor, action, target, since, until } = args;
      const filter = {
        ...(actor ? { actor: plain(actor) } : {}),
        ...(action ? { action } : {}),
        ...(target ? { target: plain(target) } : {}),
        ...(since ? { since } : {}),
        ...(until ? { until } : {}),
      };
      return toConnection(await services.auditTrail.list(filter, toPageRequest(args, info)), args);
    },
  }),
);

builder.subscriptionField('auditLogged', (t) =>
  t.field({
    type: AuditEntry,
    authScopes: { role },
    complexity: { field: 1, multiplier: 1 },
    description: 'Each entry of the audit log as it is stored, whichever process stored it.',
    subscribe: async (_root, _args, { services, signal }) => await openStream((inner) => services.auditTrail.watch(inner), { signal, startsAtOnce: false }),
    resolve: (entry) => entry,
  }),
);
