import * as z from 'zod';
import {
  DeploymentLogFeedDocument,
  DeploymentLogsDocument,
  DeploymentStateDocument,
  ListDeploymentsDocument,
  RestartDeploymentDocument,
  StartDeploymentDocument,
  StopDeploymentDocument,
} from '../../../../schema/generated/graphql.ts';
import { deploymentStatuses } from '../../../domains/deployments/deployment.machine.ts';
import { validationFailed } from '../../../shared/errors.ts';
import { toEventText } from '../../http/event-stream.ts';
import { pageQuery, queryBoolean, queryInteger, queryTime } from '../input.ts';
import { toCamelCase } from '../../../shared/json-case.ts';
import { deploymentView, toEnum, toList, toRestJson } from '../../../shared/json-view.ts';
import { startDeploymentBody } from '../request-schemas.ts';
import { deployment, deploymentAnswer, listOf, logLine } from '../response-schemas.ts';
import { defineRoute, found, idempotencyHeader, idempotencyKeyOf, payloadOf, type Answer, type Call, type RestRoute } from '../route.ts';

const notFoundMessage = 'There is no such deployment.';
/** Lines before the live ones of a followed log, and the longest tail that is read in pages. */
const tailMax = 1000;

const start = defineRoute({
  method: 'POST',
  path: '/deployments/start',
  operationId: 'startDeployment',
  tag: 'Deployments',
  summary: 'Runs an installed model, or a stopped deployment again. Answers at once; its status tells the rest.',
  body: startDeploymentBody,
  statuses: [202],
  response: deploymentAnswer,
  headers: [idempotencyHeader],
  errors: [
    'MODEL_NOT_INSTALLED',
    'MODEL_DOES_NOT_FIT',
    'UNSUPPORTED_MODEL',
    'NAME_TAKEN',
    'PORT_IN_USE',
    'RUNTIME_UNAVAILABLE',
    'DEPLOYMENT_NOT_FOUND',
    'MODEL_NOT_FOUND',
    'INVALID_STATE',
    'IDEMPOTENCY_CONFLICT',
    'UNSAFE_FILE',
  ],
  async handle({ body, exchange, execute }) {
    const { config, override, ...rest } = toCamelCase(body);
    const { restart, ...settings } = config ?? {};
    const input = {
      ...rest,
      ...(config && { config: { ...settings, restart: restart && { ...restart, policy: restart.policy && toEnum(restart.policy) } } }),
      override: override?.map(toEnum),
      idempotencyKey: idempotencyKeyOf(exchange),
    };
    const payload = payloadOf((await execute(StartDeploymentDocument, { input })).startDeployment, 'StartDeploymentPayload');
    return { status: 202, body: { deployment: deploymentView(payload.deployment) } };
  },
});

const stop = defineRoute({
  method: 'PUT',
  path: '/deployments/{deployment_id}/stop',
  operationId: 'stopDeployment',
  tag: 'Deployments',
  summary: 'Stops a deployment; running answers are finished first.',
  statuses: [202],
  response: deploymentAnswer,
  errors: ['DEPLOYMENT_NOT_FOUND', 'INVALID_STATE'],
  async handle({ params: { deployment_id: deploymentId = '' }, execute }) {
    const { stopDeployment } = await execute(StopDeploymentDocument, { input: { deploymentId } });
    return { status: 202, body: { deployment: deploymentView(payloadOf(stopDeployment, 'StopDeploymentPayload').deployment) } };
  },
});

const restart = defineRoute({
  method: 'PUT',
  path: '/deployments/{deployment_id}/restart',
  operationId: 'restartDeployment',
  tag: 'Deployments',
  summary: 'Stops a deployment and starts it again.',
  statuses: [202],
  response: deploymentAnswer,
  errors: ['DEPLOYMENT_NOT_FOUND', 'INVALID_STATE', 'MODEL_NOT_INSTALLED', 'MODEL_DOES_NOT_FIT', 'PORT_IN_USE', 'RUNTIME_UNAVAILABLE', 'UNSUPPORTED_MODEL'],
  async handle({ params: { deployment_id: deploymentId = '' }, execute }) {
    const { restartDeployment } = await execute(RestartDeploymentDocument, { input: { deploymentId } });
    return { status: 202, body: { deployment: deploymentView(payloadOf(restartDeployment, 'RestartDeploymentPayload').deployment) } };
  },
});

const list = defineRoute({
  method: 'GET',
  path: '/deployments/list',
  operationId: 'listDeployments',
  tag: 'Deployments',
  summary: 'What runs, is meant to run or did, newest first.',
  query: z.strictObject({ status: z.enum(deploymentStatuses).optional(), model_id: z.string().min(1).max(300).optional(), ...pageQuery }),
  statuses: [200],
  response: listOf(deployment),
  errors: [],
  async handle({ query, execute }) {
    const { deployments } = await execute(ListDeploymentsDocument, {
      status: query.status && toEnum(query.status),
      modelId: query.model_id,
      ...(query.limit !== undefined && { first: query.limit }),
      after: query.cursor,
    });
    return { status: 200, body: toList(deployments, deploymentView) };
  },
});

const status = defineRoute({
  method: 'GET',
  path: '/deployments/{deployment_id}/status',
  operationId: 'getDeployment',
  tag: 'Deployments',
  summary: 'One deployment with its health, resources, restarts and last exit.',
  statuses: [200],
  response: deploymentAnswer,
  errors: ['DEPLOYMENT_NOT_FOUND'],
  async handle({ params: { deployment_id: deploymentId = '' }, execute }) {
    const data = await execute(DeploymentStateDocument, { deploymentId });
    return { status: 200, body: { deployment: deploymentView(found(data.deployment, 'DEPLOYMENT_NOT_FOUND', notFoundMessage)) } };
  },
});

const logsQuery = z.strictObject({
  tail: queryInteger(0, tailMax).optional().describe('Only so many of the last lines, 1 to 1000 (with `follow` also 0); the first page has up to 100 of them.'),
  since: queryTime.optional().describe('Only lines from this time on.'),
  until: queryTime.optional().describe('Only lines up to this time; not with `follow`.'),
  level: z.enum(['debug', 'info', 'warn', 'error']).optional().describe('Only lines that matter at least this much.'),
  q: z.string().max(200).optional().describe('Only lines with this text in them.'),
  follow: queryBoolean.optional().describe('Answers as text/event-stream: the lines asked for, then live ones.'),
  ...pageQuery,
});

type LogsCall = Call<z.output<typeof logsQuery>, unknown>;

async function followLogs({ params: { deployment_id: deploymentId = '' }, query, subscribe, openStream, exchange }: LogsCall): Promise<Answer> {
  const useless = (['until', 'cursor', 'limit'] as const).filter((field) => query[field] !== undefined);
  if (useless.length > 0) throw validationFailed(useless.map((field) => ({ field, message: 'does not go with follow=true' })));
  const { since, tail, level, q: search } = query;
  const events = await subscribe(DeploymentLogFeedDocument, { deploymentId, since, tail, level: level && toEnum(level), search });
  const stream = openStream();
  await events.each(({ deploymentLogs: { droppedLines, line } }) => {
    const dropped = droppedLines > 0 ? toEventText({ event: 'dropped', data: { dropped_lines: droppedLines } }) : '';
    return stream.write(`${dropped}${line ? toEventText({ data: toRestJson(line) }) : ''}`);
  }, exchange.signal);
  stream.end();
  return { streamed: true };
}

const logs = defineRoute({
  method: 'GET',
  path: '/deployments/{deployment_id}/logs',
  operationId: 'getDeploymentLogs',
  tag: 'Deployments',
  summary: 'Lines of the log, oldest first.',
  query: logsQuery,
  statuses: [200],
  response: listOf(logLine),
  stream: { description: '`follow=true`: one line an event. An event named `dropped` tells how many lines a slow reader has missed.', schema: logLine },
  errors: ['DEPLOYMENT_NOT_FOUND'],
  async handle(call) {
    const { params: { deployment_id: deploymentId = '' }, query, execute } = call;
    if (query.follow) return await followLogs(call);
    const data = await execute(DeploymentLogsDocument, {
      deploymentId,
      tail: query.tail,
      since: query.since,
      until: query.until,
      level: query.level && toEnum(query.level),
      search: query.q,
      ...(query.limit !== undefined && { first: query.limit }),
      after: query.cursor,
    });
    return { status: 200, body: toList(found(data.deployment?.logs, 'DEPLOYMENT_NOT_FOUND', notFoundMessage)) };
  },
});

export const deploymentRoutes: readonly RestRoute[] = [start, list, status, stop, restart, logs];
