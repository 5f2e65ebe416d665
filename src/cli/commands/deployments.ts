import {
  DeleteDeploymentDocument,
  DeploymentLogFeedDocument,
  DeploymentLogsDocument,
  DeploymentStatusFeedDocument,
  RestartDeploymentDocument,
  StartDeploymentDocument,
  StopDeploymentDocument,
  type DeploymentConfigInput,
  type LogLevel,
  type LogLineFieldsFragment,
} from '../../../schema/generated/graphql.ts';
import { AppError } from '../../shared/errors.ts';
import { deploymentView, toList, toRestJson } from '../../shared/json-view.ts';
import type { CommandContext, Handler } from '../context.ts';
import { enumFlag, isSet, numberFlag, textFlag, type Flags } from '../flags.ts';
import { bytes, columns, text, time, word } from '../format.ts';
import { collect, findDeployment, getDeployment, listDeployments, type Deployment } from '../lookup.ts';
import type { Output } from '../output.ts';
import { accept, type ServiceClient } from '../service-client.ts';

const levels = ['DEBUG', 'INFO', 'WARN', 'ERROR'] as const satisfies readonly LogLevel[];

/** What the command line sets of a deployment's configuration; null when nothing. */
export function configOf(flags: Flags): DeploymentConfigInput | null {
  const config = {
    contextSize: numberFlag(flags, 'context'),
    threads: numberFlag(flags, 'threads'),
    gpuLayers: numberFlag(flags, 'gpuLayers'),
    parallel: numberFlag(flags, 'parallel'),
    baseUrl: textFlag(flags, 'baseUrl'),
    model: textFlag(flags, 'remoteModel'),
  };
  return Object.values(config).some((value) => value !== undefined) ? config : null;
}

export type WaitOptions = { client: ServiceClient; deployment: Deployment; until: 'RUNNING' | 'STOPPED'; signal: AbortSignal; onDeployment?: (deployment: Deployment) => void };

/** Waits for the state; a deployment that was given up throws its own error. */
export async function waitForDeployment(output: Output, { client, deployment, until, signal, onDeployment }: WaitOptions): Promise<Deployment> {
  let said: string | null = null;
  for await (const { deploymentStatus } of client.follow(DeploymentStatusFeedDocument, () => ({ deploymentId: deployment.deploymentId }), signal)) {
    const { status, error, name } = deploymentStatus;
    if (status !== said) {
      output.note(`${name}: ${word(status)}${status === 'RESTARTING' && error ? `: ${error.message}` : ''}`);
      onDeployment?.(deploymentStatus);
    }
    said = status;
    if (status === until) return deploymentStatus;
    if (status === 'FAILED') throw new AppError(error?.code ?? 'START_FAILED', error?.message ?? `${name} could not be started.`);
    if (deploymentStatus.desiredStatus !== until) throw new AppError('INVALID_STATE', `Somebody else wants ${name} to be ${word(deploymentStatus.desiredStatus)}.`);
  }
  throw new AppError('DEPLOYMENT_NOT_FOUND', `${deployment.name} was removed.`);
}

export function waits(flags: Flags): boolean {
  return flags['wait'] !== false;
}

async function finish(context: CommandContext, client: ServiceClient, asked: { deployment: Deployment; until: 'RUNNING' | 'STOPPED' }): Promise<undefined> {
  const { output, signal, flags } = context;
  const deployment = waits(flags) ? await waitForDeployment(output, { client, signal, ...asked }) : asked.deployment;
  output.data({ deployment: deploymentView(deployment) });
  output.line(deployment.name);
  return undefined;
}

export const start: Handler = async (context, [model]) => {
  const { signal, flags, connect } = context;
  const client = await connect();
  const runtime = textFlag(flags, 'runtime') ?? null;
  // A name that exists already is a deployment to start again.
  const stopped = model === undefined ? null : await findDeployment(client, model, signal);
  const input = stopped
    ? { deploymentId: stopped.deploymentId }
    : { modelId: model ?? null, variant: textFlag(flags, 'variant') ?? null, name: textFlag(flags, 'name') ?? null, runtime, config: configOf(flags), override: isSet(flags, 'overrideFit') ? (['FIT'] as ['FIT']) : null };
  const { deployment } = accept((await client.execute(StartDeploymentDocument, { input }, signal)).startDeployment);
  await finish(context, client, { deployment, until: 'RUNNING' });
};

export const ps: Handler = async ({ output, signal, connect }) => {
  const list = await listDeployments(await connect(), {}, signal);
  output.data(toList(list, deploymentView));
  columns(output, ['NAME', 'MODEL', 'VARIANT', 'RUNTIME', 'STATE', 'MEMORY', 'GPU', 'RESTARTS', 'SINCE'], list.items.map((deployment) => [
    deployment.name, text(deployment.modelId), text(deployment.variant), deployment.runtime, word(deployment.status),
    bytes(deployment.resources.memoryBytes), bytes(deployment.resources.gpuMemoryBytes), String(deployment.restarts), time(deployment.startedAt),
  ]));
  for (const { name, error } of list.items) if (error) output.note(`${name}: ${error.code}: ${error.message}`);
  return undefined;
};

export async function removeDeployment(client: ServiceClient, deploymentId: string, signal: AbortSignal): Promise<void> {
  accept((await client.execute(DeleteDeploymentDocument, { input: { deploymentId } }, signal)).deleteDeployment);
}

export const stop: Handler = async (context, [name = '']) => {
  const { output, signal, flags, connect } = context;
  const client = await connect();
  const { deploymentId } = await getDeployment(client, name, signal);
  if (isSet(flags, 'rm')) {
    const { deployment } = accept((await client.execute(DeleteDeploymentDocument, { input: { deploymentId } }, signal)).deleteDeployment);
    output.data({ deployment: deploymentView(deployment) });
    output.line(deployment.name);
    return undefined;
  }
  const { deployment } = accept((await client.execute(StopDeploymentDocument, { input: { deploymentId } }, signal)).stopDeployment);
  await finish(context, client, { deployment, until: 'STOPPED' });
};

export const restart: Handler = async (context, [name = '']) => {
  const { signal, connect } = context;
  const client = await connect();
  const { deploymentId } = await getDeployment(client, name, signal);
  const { deployment } = accept((await client.execute(RestartDeploymentDocument, { input: { deploymentId } }, signal)).restartDeployment);
  await finish(context, client, { deployment, until: 'RUNNING' });
};

function showLine(output: Output, { time: at, level, message }: LogLineFieldsFragment): void {
  output.line(`${at} ${level.padEnd(5)} ${message}`);
}

async function followLogs(output: Output, client: ServiceClient, query: { deploymentId: string; tail: number; level: LogLevel | null; search: string | null }, signal: AbortSignal): Promise<void> {
  for await (const { deploymentLogs } of client.subscribe(DeploymentLogFeedDocument, query, signal)) {
    const { line, droppedLines } = deploymentLogs;
    if (droppedLines > 0) {
      output.note(`${droppedLines} lines were left out`);
      output.data({ dropped_lines: droppedLines });
    }
    if (!line) continue;
    showLine(output, line);
    output.data(toRestJson(line));
  }
}

export const logs: Handler = async ({ output, signal, flags, connect }, [name = '']) => {
  const client = await connect();
  const { deploymentId } = await getDeployment(client, name, signal);
  const tail = numberFlag(flags, 'tail') ?? 100;
  const query = { deploymentId, tail, level: enumFlag(flags, 'level', levels) ?? null, search: textFlag(flags, 'grep') ?? null };
  if (isSet(flags, 'follow')) {
    await followLogs(output, client, query, signal);
    return undefined;
  }
  const page = await collect(async (first, after) => {
    const { deployment } = await client.execute(DeploymentLogsDocument, { ...query, first, after }, signal);
    if (!deployment?.logs) throw new AppError('DEPLOYMENT_NOT_FOUND', `${name} was removed.`);
    return deployment.logs;
  }, tail);
  output.data(toList(page));
  for (const line of page.items) showLine(output, line);
  return undefined;
};
