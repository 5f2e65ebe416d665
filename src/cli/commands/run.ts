import { StartDeploymentDocument } from '../../../schema/generated/graphql.ts';
import { findRunningServer } from '../../infrastructure/data-folder/folder-files.ts';
import { dataFolderAt } from '../../infrastructure/data-folder/data-folder.ts';
import { readLockHolder } from '../../infrastructure/data-folder/lock-file.ts';
import { sleep } from '../../shared/async.ts';
import { AppError } from '../../shared/errors.ts';
import { deploymentView, toRestJson } from '../../shared/json-view.ts';
import { connectToService, findService, readConfig } from '../connect.ts';
import type { CommandContext, Handler } from '../context.ts';
import { Conversation } from '../conversation.ts';
import { wrongUsage } from '../failure.ts';
import { textFlag } from '../flags.ts';
import { bytes, word } from '../format.ts';
import { isMeant, isVariant, listDeployments, listInstalled, type Deployment } from '../lookup.ts';
import { startOwnService, type OwnService } from '../own-service.ts';
import { accept, type ServiceClient } from '../service-client.ts';
import { chatAtTerminal, chatOnce, readAll } from '../terminal-chat.ts';
import { configOf, removeDeployment, waitForDeployment } from './deployments.ts';
import { startDownload, watchDownload } from './downloads.ts';
import { getModel } from './models.ts';

type Installed = { modelId: string; variant: string | null };
/** `undo` brings back what was before the command. */
type Used = { deployment: Deployment; undo: (() => Promise<void>) | null };

/** For tidying up, which must go on when the command was interrupted. */
const tidyMs = 30_000;
const startingMs = 60_000;
const startingPauseMs = 200;

/** Another command may just be starting its service on the same folder: that one is used. */
async function waitForStarting(context: CommandContext): Promise<ServiceClient | null> {
  const folder = dataFolderAt(readConfig(context).data.dir);
  const deadline = performance.now() + startingMs;
  while (performance.now() < deadline) {
    if (await findRunningServer(folder)) return await findService(context);
    if (!(await readLockHolder(folder.lockFile))) return null;
    await sleep(startingPauseMs, context.signal);
  }
  return null;
}

async function findOrStartService(context: CommandContext): Promise<{ client: ServiceClient; own: OwnService | null }> {
  const found = (await findService(context)) ?? (await waitForStarting(context));
  if (found) return { client: found, own: null };
  const { output, flags, env, cwd, signal } = context;
  const config = readConfig(context);
  output.note(`No service runs on ${config.data.dir}: starting one, which ends with this command.`);
  const own = await startOwnService({ config, flags, env, cwd }, signal);
  output.data({ type: 'service', pid: own.pid, log_file: own.logFile });
  try {
    return { client: await connectToService(context), own };
  } catch (error) {
    await own.stop();
    throw error;
  }
}

/** What is there already needs neither its source nor the network. */
async function ensureInstalled(context: CommandContext, client: ServiceClient, id: string): Promise<Installed> {
  const { output, signal, flags } = context;
  const variant = textFlag(flags, 'variant');
  const installed = (await listInstalled(client, signal)).items.filter((model) => isMeant(id, model.modelId) && isVariant(variant, model.variant));
  // With a choice the service takes the one that it recommends.
  if (installed[0]) return { modelId: installed[0].modelId, variant: installed.length === 1 ? installed[0].variant : (variant ?? null) };
  const model = await getModel(client, id, signal);
  const chosen = model.variants?.find(({ name, recommended }) => (variant === undefined ? recommended : isVariant(variant, name)));
  if (variant !== undefined && !chosen) {
    throw new AppError('FILE_NOT_FOUND', `${model.id} has no variant ${variant}; it has ${model.variants?.map(({ name }) => name).join(', ') ?? 'none'}.`);
  }
  if (chosen) output.note(`${model.id}: ${chosen.name}, ${bytes(chosen.sizeBytes)}${chosen.fit ? `, ${word(chosen.fit.verdict)} on this machine` : ''}`);
  const task = await startDownload(client, { modelId: id, variant: chosen?.name ?? null }, signal);
  const done = await watchDownload(context, { client, task, onTask: (type, now) => output.data({ type: `download_${type}`, task: toRestJson(now) }) });
  return { modelId: done.modelId, variant: done.variant };
}

/** The deployment that runs already, else one for this command alone. */
async function ensureRunning(context: CommandContext, client: ServiceClient, { modelId, variant }: Installed): Promise<Used> {
  const { output, signal, flags } = context;
  const config = configOf(flags);
  const running = config ? undefined : (await listDeployments(client, { modelId }, signal)).items.find(({ status, variant: its }) => status === 'RUNNING' && (variant === null || its === variant));
  if (running) {
    output.note(`${running.name} runs already.`);
    output.data({ type: 'deployment', deployment: deploymentView(running) });
    return { deployment: running, undo: null };
  }
  const { deployment } = accept((await client.execute(StartDeploymentDocument, { input: { modelId, variant, config } }, signal)).startDeployment);
  const undo = (): Promise<void> => removeDeployment(client, deployment.deploymentId, AbortSignal.timeout(tidyMs));
  try {
    const onDeployment = (now: Deployment): void => output.data({ type: 'deployment', deployment: deploymentView(now) });
    return { deployment: await waitForDeployment(output, { client, deployment, until: 'RUNNING', signal, onDeployment }), undo };
  } catch (error) {
    await tidy(context, undo);
    throw error;
  }
}

/** The failure or the interrupt that led here is what the command tells; a fault on the way out is a note. */
async function tidy({ output }: CommandContext, undo: () => Promise<void>): Promise<void> {
  try {
    await undo();
  } catch (error) {
    output.note(`Not everything could be tidied up: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function talk(context: CommandContext, conversation: Conversation, prompt: string | null): Promise<number | undefined> {
  return await (prompt === null ? chatAtTerminal(context, conversation) : chatOnce(context, conversation, prompt));
}

export const run: Handler = async (context, [model = '', ...words]) => {
  // Read before anything is started: an empty question needs no model.
  const given = words.length > 0 ? words.join(' ') : context.stdin.isTTY ? null : await readAll(context);
  if (given === '') throw wrongUsage('There is no prompt: standard input is empty. Give one as an argument or run this in a terminal.');
  const { client, own } = await findOrStartService(context);
  let undo: Used['undo'] = null;
  try {
    const installed = await ensureInstalled(context, client, model);
    const used = await ensureRunning(context, client, installed);
    undo = used.undo;
    return await talk(context, new Conversation({ context, client, deploymentId: used.deployment.deploymentId }), given);
  } finally {
    if (undo) await tidy(context, undo);
    if (own) await tidy(context, () => own.stop());
  }
};
