import path from 'node:path';
import {
  AdoptModelsDocument,
  DeleteInstalledModelDocument,
  ImportModelDocument,
  ModelInfoDocument,
  RepairInstalledModelDocument,
  RuntimeModelsDocument,
  SearchModelsDocument,
  VerifyInstalledModelDocument,
  type ModelFormat,
  type ModelInfoQuery,
  type ModelSort,
  type OverridableRule,
  type VerifyInstalledModelMutation,
} from '../../../schema/generated/graphql.ts';
import { AppError } from '../../shared/errors.ts';
import { toList, toRestJson } from '../../shared/json-view.ts';
import type { CommandContext, Handler } from '../context.ts';
import { exitCodes } from '../failure.ts';
import { enumFlag, isSet, listFlag, numberFlag, textFlag } from '../flags.ts';
import { bytes, columns, count, text, time, word } from '../format.ts';
import { collect, isMeant, isVariant, listInstalled, type InstalledModel } from '../lookup.ts';
import type { Output } from '../output.ts';
import type { Task } from '../progress.ts';
import { accept, type ServiceClient } from '../service-client.ts';
import { waitForJob } from '../storage-job.ts';
import { watchDownload } from './downloads.ts';

const sorts = ['RELEVANCE', 'DOWNLOADS', 'LIKES', 'UPDATED', 'CREATED', 'TRENDING', 'NAME', 'SIZE'] as const satisfies readonly ModelSort[];
const formats = ['GGUF', 'MLX', 'ONNX', 'OTHER', 'PYTORCH', 'SAFETENSORS'] as const satisfies readonly ModelFormat[];

export type Model = NonNullable<ModelInfoQuery['model']>;

export const search: Handler = async ({ output, signal, flags, connect }, words) => {
  const client = await connect();
  const limit = numberFlag(flags, 'limit') ?? 20;
  const variables = {
    query: words.join(' '),
    source: textFlag(flags, 'source') ?? null,
    category: textFlag(flags, 'category') ?? null,
    sort: enumFlag(flags, 'sort', sorts) ?? null,
    format: enumFlag(flags, 'format', formats) ?? null,
  };
  let sources: readonly { source: string; status: string; error: { message: string } | null }[] = [];
  const found = await collect(async (first, after) => {
    const { models } = await client.execute(SearchModelsDocument, { ...variables, first, after }, signal);
    sources = models.sources;
    return models;
  }, limit);
  output.data({ ...toList(found), sources: sources.map((source) => toRestJson(source)) });
  columns(output, ['MODEL', 'SIZE', 'PARAMETERS', 'DOWNLOADS', 'FORMATS', ''], found.items.map((model) => [
    model.id, bytes(model.sizeBytes), count(model.parameters), count(model.downloads), word(model.formats.join(', ')), model.installed ? 'installed' : model.gated ? 'gated' : '',
  ]));
  for (const { source, status, error } of sources) if (status !== 'OK') output.note(`${source}: ${word(status)}${error ? `: ${error.message}` : ''}`);
  if (found.items.length === 0) output.note('Nothing was found.');
  return undefined;
};

export async function getModel(client: ServiceClient, id: string, signal: AbortSignal): Promise<Model> {
  const { model } = await client.execute(ModelInfoDocument, { id }, signal);
  if (!model) throw new AppError('MODEL_NOT_FOUND', `There is no model ${id}; "llm-manager search" finds models.`);
  return model;
}

function showModel(output: Output, model: Model): void {
  const facts: [string, string][] = [
    ['name', model.displayName],
    ['author', text(model.author)],
    ['licence', text(model.license)],
    ['parameters', count(model.parameters)],
    ['context', count(model.contextLength)],
    ['architecture', text(model.architecture)],
    ['updated', time(model.updatedAt)],
    ['security', word(model.securityStatus)],
    ['access', model.gated ? 'must be asked for at its source' : 'open'],
    ['page', text(model.url)],
  ];
  output.line(output.style('bold', model.id));
  for (const [name, value] of facts) output.line(`  ${name.padEnd(14)}${value}`);
  if (model.description) output.line(`\n${model.description}`);
  if (!model.variants?.length) return;
  output.line();
  columns(output, ['VARIANT', 'SIZE', 'HERE', ''], model.variants.map((variant) => [
    `${variant.name}${variant.recommended ? ' *' : ''}`,
    bytes(variant.sizeBytes),
    variant.fit ? `${word(variant.fit.verdict)}: ${variant.fit.reason}` : '-',
    model.installedVariants.some((installed) => installed.variant === variant.name) ? 'installed' : '',
  ]));
}

export const info: Handler = async ({ output, signal, connect }, [id = '']) => {
  const model = await getModel(await connect(), id, signal);
  output.data({ model: toRestJson(model) });
  if (!output.json) showModel(output, model);
  return undefined;
};

export const ls: Handler = async ({ output, signal, connect }) => {
  const client = await connect();
  const [installed, { deploymentRuntimes }] = await Promise.all([listInstalled(client, signal), client.execute(RuntimeModelsDocument, {}, signal)]);
  const own = deploymentRuntimes.filter(({ models }) => models.length > 0);
  output.data({ ...toList(installed), runtimes: own.map((runtime) => toRestJson(runtime)) });
  columns(output, ['MODEL', 'VARIANT', 'SIZE', 'STATE', 'INSTALLED', 'LAST USED'], installed.items.map((model) => [
    model.modelId, text(model.variant), bytes(model.sizeBytes), word(model.verification), time(model.installedAt), time(model.lastUsedAt),
  ]));
  for (const { id, name, models } of own) {
    output.line(`\nIn the store of ${name} ("llm-manager start MODEL --runtime ${id}" runs them):`);
    columns(output, ['MODEL', 'VARIANT', 'SIZE'], models.map((model) => [model.modelId, text(model.quantization), bytes(model.sizeBytes)]));
  }
  return undefined;
};

/** What is installed of a model: all of its variants, or the one of `--variant`. Throws MODEL_NOT_FOUND when nothing is. */
async function installedOf(client: ServiceClient, id: string, { flags, signal }: CommandContext): Promise<InstalledModel[]> {
  const variant = textFlag(flags, 'variant');
  const meant = (await listInstalled(client, signal)).items.filter((model) => (isMeant(id, model.modelId) || model.installedModelId === id) && isVariant(variant, model.variant));
  if (meant.length === 0) throw new AppError('MODEL_NOT_FOUND', `${variant === undefined ? id : `${id} ${variant}`} is not installed; "llm-manager ls" lists what is.`);
  return meant;
}

export const rm: Handler = async (context, [id = '']) => {
  const { output, signal, connect } = context;
  const client = await connect();
  const meant = await installedOf(client, id, context);
  for (const { installedModelId, modelId, variant: name, sizeBytes } of meant) {
    accept((await client.execute(DeleteInstalledModelDocument, { input: { installedModelId } }, signal)).deleteInstalledModel);
    output.note(`removed ${modelId} ${name ?? ''} (${bytes(sizeBytes)})`);
  }
  output.data({ removed: meant.map((model) => toRestJson(model)) });
  return undefined;
};

type Verified = Extract<VerifyInstalledModelMutation['verifyInstalledModel'], { installedModel: unknown }>['installedModel'];

function showVerified(output: Output, model: Verified): void {
  output.line(`${model.modelId} ${model.variant ?? ''}  ${word(model.verification)}, scan: ${word(model.verdict)}`);
  for (const file of model.files) if (file.damage) output.line(`  ${file.path}  ${word(file.damage)}`);
}

/** Without `--repair` damage ends it with 1; with it only what could not be fetched again does. */
export const verify: Handler = async (context, [id = '']) => {
  const { output, signal, flags, connect } = context;
  const client = await connect();
  const verified: Verified[] = [];
  const tasks: Task[] = [];
  for (const { installedModelId, modelId, variant, sizeBytes } of await installedOf(client, id, context)) {
    output.note(`reading ${modelId} ${variant ?? ''} (${bytes(sizeBytes)})`);
    const variables = { input: { installedModelId } };
    const begun = isSet(flags, 'repair')
      ? accept((await client.execute(RepairInstalledModelDocument, variables, signal)).repairInstalledModel)
      : { ...accept((await client.execute(VerifyInstalledModelDocument, variables, signal)).verifyInstalledModel), task: null };
    const job = begun.job && (await waitForJob(context, client, begun.job));
    const installedModel = job?.installedModels[0] ?? begun.installedModel;
    const task = job ? job.task : begun.task;
    verified.push(installedModel);
    showVerified(output, installedModel);
    if (!task) continue;
    tasks.push(await watchDownload(context, { client, task }));
    output.note(`repaired ${modelId} ${variant ?? ''}`);
  }
  output.data({ verified: verified.map((model) => toRestJson(model)), tasks: tasks.map((task) => toRestJson(task)) });
  const isDamaged = verified.some(({ verification }) => verification !== 'VERIFIED');
  return isDamaged && !isSet(flags, 'repair') ? exitCodes.failed : undefined;
};

/** The service reads the path, so it must see the same files as the command. */
export const importFiles: Handler = async (context, [given = '']) => {
  const { output, signal, flags, cwd, connect } = context;
  const client = await connect();
  const input = {
    path: path.resolve(cwd, given),
    name: textFlag(flags, 'name') ?? null,
    // The service checks the names; commander has made a list of them.
    override: (listFlag(flags, 'override')?.map((rule) => rule.toUpperCase()) as OverridableRule[] | undefined) ?? null,
  };
  const { installedModels, job } = accept((await client.execute(ImportModelDocument, { input }, signal)).importModel);
  const imported = job ? (await waitForJob(context, client, job)).installedModels : installedModels;
  output.data({ imported: imported.map((model) => toRestJson(model)) });
  showTaken(output, imported);
  return undefined;
};

function showTaken(output: Output, models: readonly InstalledModel[]): void {
  columns(output, ['MODEL', 'VARIANT', 'SIZE', 'SCAN'], models.map((model) => [model.modelId, text(model.variant), bytes(model.sizeBytes), word(model.verdict)]));
}

/** All that other tools have left whole in the shared cache, or the one model, which must be there. */
export const adopt: Handler = async (context, [id]) => {
  const { output, signal, connect } = context;
  const client = await connect();
  const { installedModels, job } = accept((await client.execute(AdoptModelsDocument, { input: { modelId: id ?? null } }, signal)).adoptModels);
  const adopted = job ? (await waitForJob(context, client, job)).installedModels : installedModels;
  if (adopted.length === 0 && id !== undefined) {
    const isInstalled = (await listInstalled(client, signal)).items.some(({ modelId }) => isMeant(id, modelId));
    if (!isInstalled) throw new AppError('MODEL_NOT_FOUND', `${id} does not lie whole and sound in the shared Hugging Face cache; the log of the service says what is wrong with it.`);
  }
  output.data({ adopted: adopted.map((model) => toRestJson(model)) });
  if (adopted.length === 0) output.note(id === undefined ? 'There is nothing new in the shared Hugging Face cache.' : `${id} is installed already.`);
  else showTaken(output, adopted);
  return undefined;
};
