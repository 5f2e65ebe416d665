import { PothosValidationError } from '@pothos/core';
import { GraphQLError, type GraphQLFieldResolver, type GraphQLSchema } from 'graphql';
import { isAbort } from '../../shared/abort.ts';
import type { AuditAction, AuditTarget } from '../../shared/audit-log.ts';
import { isAppError, type ErrorCode } from '../../shared/errors.ts';
import { isId } from '../../shared/ids.ts';
import type { GraphqlContext } from './context.ts';
import { decodeGlobalId } from './ids.ts';
import { refusalCodeOf } from './schema/user-error.ts';

type Facts = Readonly<Record<string, unknown>>;
type Rule = {
  action: AuditAction;
  kind: string;
  /** Name of the input that holds the id of what is changed. */
  input?: string;
  /** Name of the payload's part that was made; its id is the target's once there is one. */
  made?: string;
};

/**
 * What each mutation is recorded as. `null`: it is not, because it changes nothing that anybody else has, or because
 * what it changes is the record itself, as messages are.
 */
export const auditedMutations: Readonly<Record<string, Rule | null>> = {
  startDownload: { action: 'download.start', kind: 'download', made: 'task' },
  pauseDownload: { action: 'download.pause', kind: 'download', input: 'taskId' },
  resumeDownload: { action: 'download.resume', kind: 'download', input: 'taskId' },
  cancelDownload: { action: 'download.cancel', kind: 'download', input: 'taskId' },
  retryDownload: { action: 'download.retry', kind: 'download', input: 'taskId' },
  prioritizeDownload: { action: 'download.prioritize', kind: 'download', input: 'taskId' },
  removeDownloadTask: { action: 'download.remove', kind: 'download', input: 'taskId' },
  limitDownloads: { action: 'download.limit', kind: 'download' },
  verifyInstalledModel: { action: 'storage.verify', kind: 'installed_model', input: 'installedModelId' },
  repairInstalledModel: { action: 'storage.repair', kind: 'installed_model', input: 'installedModelId' },
  deleteInstalledModel: { action: 'storage.delete', kind: 'installed_model', input: 'installedModelId' },
  importModel: { action: 'storage.import', kind: 'installed_model' },
  cancelStorageJob: { action: 'storage.cancel', kind: 'storage_job', input: 'id' },
  adoptModels: { action: 'storage.adopt', kind: 'installed_model' },
  refreshModel: null,
  startDeployment: { action: 'deployment.start', kind: 'deployment', input: 'deploymentId', made: 'deployment' },
  stopDeployment: { action: 'deployment.stop', kind: 'deployment', input: 'deploymentId' },
  restartDeployment: { action: 'deployment.restart', kind: 'deployment', input: 'deploymentId' },
  updateDeployment: { action: 'deployment.update', kind: 'deployment', input: 'deploymentId' },
  deleteDeployment: { action: 'deployment.delete', kind: 'deployment', input: 'deploymentId' },
  createChatSession: null,
  updateChatSession: null,
  deleteChatSession: { action: 'chat.delete', kind: 'chat_session', input: 'sessionId' },
  sendChatMessage: null,
  regenerateChatMessage: null,
  editChatMessage: null,
  stopChatMessage: null,
  exportChatSession: { action: 'chat.export', kind: 'chat_session', input: 'sessionId' },
  importChatSession: { action: 'chat.import', kind: 'chat_session' },
  createApiKey: { action: 'key.create', kind: 'api_key', made: 'key' },
  revokeApiKey: { action: 'key.revoke', kind: 'api_key', input: 'keyId' },
  rotateApiKey: { action: 'key.rotate', kind: 'api_key', input: 'keyId' },
  createAlertRule: { action: 'alert_rule.create', kind: 'alert_rule', made: 'rule' },
  updateAlertRule: { action: 'alert_rule.update', kind: 'alert_rule', input: 'ruleId' },
  deleteAlertRule: { action: 'alert_rule.delete', kind: 'alert_rule', input: 'ruleId' },
  acknowledgeAlert: { action: 'alert.acknowledge', kind: 'alert', input: 'alertId' },
};

function factsOf(value: unknown): Facts {
  return typeof value === 'object' && value !== null ? (value as Facts) : {};
}

/** The plain id; null for text that is none, which may be anything. */
function plainId(value: unknown): string | null {
  if (typeof value !== 'string') return null;
  const id = isId(value) ? value : (decodeGlobalId(value)?.id ?? '');
  return isId(id) ? id.toLowerCase() : null;
}

function targetOf({ kind, input, made }: Rule, args: Facts, payload: unknown): AuditTarget {
  const given = factsOf(args['input']);
  const named = input === undefined ? null : plainId(given[input]);
  const result = made === undefined ? null : plainId(factsOf(factsOf(payload)[made])['id']);
  return { kind, id: named ?? result };
}

/** The code that a caller is shown for what was thrown. */
export function codeOf(error: unknown): ErrorCode {
  if (isAppError(error)) return error.code;
  if (error instanceof PothosValidationError || error instanceof GraphQLError) return 'VALIDATION_FAILED';
  return isAbort(error) ? 'TIMEOUT' : 'INTERNAL';
}

type Resolver = GraphQLFieldResolver<unknown, GraphqlContext, Facts>;

function audited(rule: Rule, resolve: Resolver): Resolver {
  return async (root, args, context, info) => {
    const { principal, origin, services } = context;
    const record = (errorCode: ErrorCode | null, payload: unknown): Promise<void> =>
      services.auditLog.record({ action: rule.action, actor: principal, target: targetOf(rule, args, payload), errorCode, origin });
    let result: unknown;
    try {
      result = await resolve(root, args, context, info);
    } catch (error) {
      await record(codeOf(error), null);
      throw error;
    }
    // Before the caller hears of it: whoever was answered has an entry.
    await record(refusalCodeOf(result), result);
    return result;
  };
}

/**
 * Puts the audit log around each mutation, outside of authorisation: REST, WebSockets, the command line and GraphQL all
 * come through here.
 */
export function auditMutations(schema: GraphQLSchema): GraphQLSchema {
  for (const field of Object.values(schema.getMutationType()?.getFields() ?? {})) {
    const rule = auditedMutations[field.name];
    // The schema's own type says less of its resolvers than we know.
    if (rule && field.resolve) field.resolve = audited(rule, field.resolve as Resolver) as typeof field.resolve;
  }
  return schema;
}
