import { defaultFieldResolver, getNamedType, isObjectType, type GraphQLField, type GraphQLFieldResolver, type GraphQLSchema } from 'graphql';
import { AppError } from '../../shared/errors.ts';
import { hasScope, type Scope } from '../../shared/principal.ts';
import { recordDenied } from '../http/origin.ts';
import type { GraphqlContext } from './context.ts';
import { decodeGlobalId } from './ids.ts';

const listed = (scope: Scope | null, ...names: readonly string[]): Record<string, Scope | null> => Object.fromEntries(names.map((name) => [name, scope]));

/**
 * The scope that a narrowed key needs for each field of the roots; `null` = any. A field that is not here is denied to
 * narrowed keys, and fails a test.
 */
export const fieldScopes: Readonly<Record<string, Scope | null>> = {
  ...listed(null, 'Query.viewer', 'Query.serverInfo', 'Query.node', 'Query.nodes'),
  ...listed('models:read', 'Query.models', 'Query.model', 'Query.modelCategories', 'Query.modelSources', 'Mutation.refreshModel'),
  ...listed('models:read', 'Query.installedModels', 'Query.installedModel', 'Query.storage', 'Query.storageJob'),
  ...listed('storage:write', 'Mutation.verifyInstalledModel', 'Mutation.repairInstalledModel', 'Mutation.deleteInstalledModel', 'Mutation.importModel', 'Mutation.adoptModels', 'Mutation.cancelStorageJob'),
  ...listed('downloads:read', 'Query.downloadTasks', 'Query.downloadTask', 'Query.downloadLimits', 'Subscription.downloadProgress'),
  ...listed('downloads:write', 'Mutation.startDownload', 'Mutation.pauseDownload', 'Mutation.resumeDownload', 'Mutation.cancelDownload', 'Mutation.retryDownload'),
  ...listed('downloads:write', 'Mutation.prioritizeDownload', 'Mutation.removeDownloadTask', 'Mutation.limitDownloads'),
  ...listed('deployments:read', 'Query.deployments', 'Query.deployment', 'Query.deploymentRuntimes', 'Query.deploymentFit', 'Subscription.deploymentStatus', 'Subscription.deploymentLogs'),
  ...listed('deployments:write', 'Mutation.startDeployment', 'Mutation.stopDeployment', 'Mutation.restartDeployment', 'Mutation.updateDeployment', 'Mutation.deleteDeployment'),
  ...listed('chat', 'Query.chatSessions', 'Query.chatSession', 'Subscription.chatStream', 'Subscription.chatSessionUpdated'),
  ...listed('chat', 'Mutation.createChatSession', 'Mutation.updateChatSession', 'Mutation.deleteChatSession', 'Mutation.exportChatSession', 'Mutation.importChatSession'),
  ...listed('chat', 'Mutation.sendChatMessage', 'Mutation.regenerateChatMessage', 'Mutation.editChatMessage', 'Mutation.stopChatMessage'),
  ...listed('system:read', 'Query.systemResources', 'Query.systemResourceHistory', 'Query.alerts', 'Query.alertRules', 'Subscription.systemResources', 'Subscription.alertRaised'),
  ...listed('alerts:write', 'Mutation.createAlertRule', 'Mutation.updateAlertRule', 'Mutation.deleteAlertRule', 'Mutation.acknowledgeAlert'),
  ...listed('keys', 'Query.apiKeys', 'Mutation.createApiKey', 'Mutation.revokeApiKey', 'Mutation.rotateApiKey'),
  ...listed('audit:read', 'Query.auditLog', 'Subscription.auditLogged'),
};

/** The scope that it takes to come to one of these over another thing, or by its global id. */
const typeScopes: Readonly<Record<string, Scope>> = {
  Model: 'models:read',
  InstalledModel: 'models:read',
  StorageJob: 'models:read',
  DownloadTask: 'downloads:read',
  Deployment: 'deployments:read',
  ChatSession: 'chat',
  ChatMessage: 'chat',
  Alert: 'system:read',
  AlertRule: 'system:read',
  ApiKey: 'keys',
  AuditEntry: 'audit:read',
};

type Resolver = GraphQLFieldResolver<unknown, GraphqlContext, Readonly<Record<string, unknown>>>;

/** Denied where there is no scope that would be enough. */
function assertScope({ principal, origin, services }: GraphqlContext, scope: Scope | undefined, field: string): void {
  if (principal?.scopes === undefined || (scope !== undefined && hasScope(principal, scope))) return;
  // What is refused of the mutations is recorded as what it would have been.
  if (!field.startsWith('Mutation.')) recordDenied(services.auditLog, principal, { kind: 'field', id: field }, origin);
  throw new AppError('FORBIDDEN', scope === undefined ? 'A key with scopes may not do this.' : `This needs a key with the scope ${scope}.`);
}

function guarded(resolve: Resolver, check: (context: GraphqlContext, args: Readonly<Record<string, unknown>>) => void): Resolver {
  return (root, args, context, info) => {
    check(context, args);
    return resolve(root, args, context, info);
  };
}

function guardField(field: GraphQLField<unknown, GraphqlContext>, check: Parameters<typeof guarded>[1]): void {
  field.resolve = guarded((field.resolve as Resolver | undefined) ?? defaultFieldResolver, check) as NonNullable<typeof field.resolve>;
}

function guardRoot(name: string, field: GraphQLField<unknown, GraphqlContext>): void {
  const key = `${name}.${field.name}`;
  const scope = fieldScopes[key];
  if (scope === null) {
    if (field.name === 'node' || field.name === 'nodes') guardField(field, (context, { id, ids }) => assertNodes(context, id === undefined ? ids : [id], key));
    return;
  }
  // A subscription is refused before it begins; its events need no further look.
  if (name === 'Subscription' && field.subscribe) {
    const { subscribe } = field;
    field.subscribe = guarded(subscribe as Resolver, (context) => assertScope(context, scope, key)) as typeof subscribe;
  } else {
    guardField(field, (context) => assertScope(context, scope, key));
  }
}

function assertNodes(context: GraphqlContext, ids: unknown, field: string): void {
  for (const id of Array.isArray(ids) ? (ids as unknown[]) : []) {
    const typename = typeof id === 'string' ? decodeGlobalId(id)?.typename : undefined;
    // Text that is no id is refused by the field itself.
    if (typename !== undefined && Object.hasOwn(typeScopes, typename)) assertScope(context, typeScopes[typename], field);
  }
}

/** `DeploymentConnection` and `DeploymentEdge` are ways to deployments as `Deployment` is. */
function scopeOfType(name: string): Scope | undefined {
  return typeScopes[name.replace(/(Connection|Edge)$/, '')];
}

/** Puts the check of scopes around all fields that lead to something of another area. Keys without scopes pass at once. */
export function guardScopes(schema: GraphQLSchema): GraphQLSchema {
  const roots = [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()].map((type) => type?.name);
  for (const type of Object.values(schema.getTypeMap())) {
    if (!isObjectType(type) || type.name.startsWith('__')) continue;
    // What a mutation answers with belongs to what it was allowed to do; within one area nothing is asked again.
    const isPayload = type.name.endsWith('Payload');
    for (const field of Object.values(type.getFields())) {
      if (roots.includes(type.name)) guardRoot(type.name, field as GraphQLField<unknown, GraphqlContext>);
      else if (!isPayload) guardWay(type.name, field as GraphQLField<unknown, GraphqlContext>);
    }
  }
  return schema;
}

function guardWay(from: string, field: GraphQLField<unknown, GraphqlContext>): void {
  const scope = scopeOfType(getNamedType(field.type).name);
  if (scope !== undefined && scopeOfType(from) !== scope) guardField(field, (context) => assertScope(context, scope, `${from}.${field.name}`));
}
