import type { DeploymentEventView, DeploymentHealth as Health, DeploymentUseView, DeploymentView, LastExit as Exit } from '../../../../domains/deployments/types.ts';
import { isId } from '../../../../shared/ids.ts';
import { pageLimits } from '../../../../shared/paging.ts';
import { builder } from '../../builder.ts';
import { connectionOf, pageArgs, pageCost, toConnection, toPageRequest } from '../../connection.ts';
import { Failure } from '../common.ts';
import { textMax, trimmedText, wholeNumber } from '../validation.ts';
import { DeploymentConfig } from './config.ts';
import { DeploymentStatus, DesiredStatus, HealthStatus, LogLevel } from './enums.ts';
import { LogLineConnection } from './log.ts';

const DeploymentHealth = builder.objectRef<Health>('DeploymentHealth').implement({
  description: 'What the health checks say.',
  fields: (t) => ({
    status: t.expose('status', { type: HealthStatus, description: 'What the last one said.' }),
    checkedAt: t.expose('checkedAt', { type: 'DateTime', nullable: true, description: 'When it was made.' }),
    consecutiveFailures: t.exposeInt('consecutiveFailures', { description: 'How many failed since the last good one.' }),
    message: t.exposeString('message', { nullable: true, description: 'Why it failed.' }),
  }),
});

const DeploymentResources = builder.objectRef<DeploymentUseView>('DeploymentResources').implement({
  description: 'What a deployment uses now; null where it cannot be told.',
  fields: (t) => ({
    cpuPercent: t.exposeFloat('cpuPercent', { nullable: true, description: 'Share of all processor cores together, 0 to 100.' }),
    memoryBytes: t.expose('memoryBytes', { type: 'ByteSize', nullable: true, description: 'Memory in bytes.' }),
    gpuMemoryBytes: t.expose('gpuMemoryBytes', { type: 'ByteSize', nullable: true, description: 'Memory of graphics cards in bytes.' }),
  }),
});

const LastExit = builder.objectRef<Exit>('LastExit').implement({
  description: 'How the engine last ended.',
  fields: (t) => ({
    code: t.exposeInt('code', { nullable: true, description: 'Exit code.' }),
    signal: t.exposeString('signal', { nullable: true, description: 'Signal that ended it.' }),
    at: t.expose('at', { type: 'DateTime', description: 'When it ended.' }),
    reason: t.exposeString('reason', { nullable: true, description: 'Why, as far as is known.' }),
  }),
});

const DeploymentEvent = builder.objectRef<DeploymentEventView>('DeploymentEvent').implement({
  description: 'A change of state of a deployment.',
  fields: (t) => ({
    fromStatus: t.expose('fromStatus', { type: DeploymentStatus, nullable: true, description: 'The state before; null for its creation.' }),
    toStatus: t.expose('toStatus', { type: DeploymentStatus, description: 'The state after.' }),
    reason: t.exposeString('reason', { nullable: true, description: 'Why.' }),
    at: t.expose('at', { type: 'DateTime', description: 'When.' }),
  }),
});

const DeploymentEventConnection = connectionOf('DeploymentEvent', DeploymentEvent, 'changes of state');

/** Longer tails than a page come page by page. */
const logTailMax = 1000;

export const Deployment = builder.objectRef<DeploymentView>('Deployment');

builder.node(Deployment, {
  description: 'A model that is meant to run, or did.',
  id: { resolve: (deployment) => deployment.id },
  loadMany: async (ids, { services }) => {
    const found = new Map((await services.deployments.findMany(ids.filter(isId))).map((deployment) => [deployment.id, deployment]));
    return ids.map((id) => found.get(id) ?? null);
  },
  fields: (t) => ({
    deploymentId: t.exposeID('id', { description: 'Its plain UUID.' }),
    name: t.exposeString('name', { description: "Its name, also the model's name for OpenAI-compatible clients." }),
    modelId: t.expose('modelId', { type: 'ModelId', nullable: true, description: 'The model; null for a server that somebody else runs.' }),
    variant: t.exposeString('variant', { nullable: true, description: 'The variant of the model.' }),
    installedModelId: t.exposeID('installedModelId', { nullable: true, description: 'Plain UUID of the installed model.' }),
    runtime: t.exposeString('runtime', { description: 'Id of the runtime that runs it.' }),
    status: t.expose('status', { type: DeploymentStatus, description: 'Where it stands.' }),
    desiredStatus: t.expose('desiredStatus', { type: DesiredStatus, description: 'What was last asked for.' }),
    config: t.expose('config', { type: DeploymentConfig, description: 'What was set for it.' }),
    endpoint: t.exposeString('endpoint', { nullable: true, description: 'Address of its OpenAI-compatible server while it runs.' }),
    health: t.expose('health', { type: DeploymentHealth, description: 'What its health checks say.' }),
    resources: t.expose('resources', { type: DeploymentResources, description: 'What it uses now.' }),
    restarts: t.exposeInt('restarts', { description: 'How often it was started again by itself since it was last asked for.' }),
    runs: t.exposeInt('runs', { description: 'How often it was started in all; log lines carry this number.' }),
    lastExit: t.expose('lastExit', { type: LastExit, nullable: true, description: 'How its engine last ended.' }),
    error: t.expose('error', { type: Failure, nullable: true, description: 'Why it failed.' }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was made.' }),
    startedAt: t.expose('startedAt', { type: 'DateTime', nullable: true, description: 'When its engine was last started.' }),
  }),
});

builder.objectFields(Deployment, (t) => ({
  logs: t.field({
    type: LogLineConnection,
    nullable: true,
    complexity: pageCost,
    description: 'What its engine and this service wrote about it, oldest first.',
    args: {
      ...pageArgs,
      tail: t.arg.int({ description: `Only so many of the last lines, 1 to ${logTailMax}; in one page up to ${pageLimits.max} of them.`, validate: wholeNumber(1, logTailMax) }),
      since: t.arg({ type: 'DateTime', description: 'Only lines from this time on.' }),
      until: t.arg({ type: 'DateTime', description: 'Only lines up to this time.' }),
      level: t.arg({ type: LogLevel, description: 'Only lines that matter at least this much.' }),
      search: t.arg.string({ description: 'Only lines with this text in them, in upper or lower case.', validate: trimmedText(textMax.query) }),
    },
    resolve: async (deployment, args, { services, signal }) => {
      const { limit, cursor } = toPageRequest(args);
      const query = {
        // Who asks for a tail and for no page of a size wants it whole, as far as a page holds it.
        limit: args.tail && limit === pageLimits.default ? Math.min(Math.max(limit, args.tail), pageLimits.max) : limit,
        ...(cursor === undefined ? {} : { cursor }),
        ...(args.tail ? { tail: args.tail } : {}),
        ...(args.since ? { since: args.since } : {}),
        ...(args.until ? { until: args.until } : {}),
        ...(args.level ? { level: args.level } : {}),
        ...(args.search ? { search: args.search } : {}),
      };
      const page = await services.deployments.logs(deployment.id, query, signal);
      return toConnection({ ...page, cursors: page.items.map((line) => line.cursor) }, args);
    },
  }),
  events: t.field({
    type: DeploymentEventConnection,
    nullable: true,
    complexity: pageCost,
    description: 'Its changes of state, newest first.',
    args: pageArgs,
    resolve: async (deployment, args, { services }) => toConnection(await services.deployments.events(deployment.id, toPageRequest(args)), args),
  }),
}));

export const DeploymentConnection = connectionOf('Deployment', Deployment, 'deployments');
