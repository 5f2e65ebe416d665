import { isAbsolute, join, normalize } from 'node:path';
import { AppError } from '../../shared/errors.ts';
import { isUsualWeights } from '../../shared/safetensors/weight-names.ts';
import type { InstalledModelView } from '../downloads/types.ts';

/** Share of the memory that a recommended variant leaves free, for its context and everything else. */
const comfortableShare = 0.7;
const firstShardPattern = /-00001-of-\d{5}\.gguf$/i;
const shardPattern = /-\d{5}-of-\d{5}\.gguf$/i;

export type WantedModel = { modelId: string; variant?: string; /** That can be run; left out = any. */ formats?: readonly string[]; /** For the message. */ runtimeName?: string };

/**
 * The installed variant to run: the one that is asked for, the only one, or the best of those that are there: the
 * largest that fits comfortably, else the smallest. Throws MODEL_NOT_INSTALLED, and UNSUPPORTED_MODEL where none is in a format that can be run.
 */
export function chooseInstalled(installed: readonly InstalledModelView[], wanted: WantedModel, availableBytes: number): InstalledModelView {
  const usable = installed.filter((model) => model.verification === 'verified');
  const asked = wanted.variant === undefined ? usable : usable.filter((model) => isVariant(model, wanted.variant ?? ''));
  const { formats } = wanted;
  const runnable = formats === undefined ? asked : asked.filter((model) => formats.includes(model.format.toLowerCase()));
  const [other] = asked;
  if (runnable.length === 0 && other) throw new AppError('UNSUPPORTED_MODEL', `${wanted.runtimeName ?? 'The runtime'} cannot run models in the format ${other.format}; it takes ${formats?.join(' and ') ?? 'others'}.`);
  const bySize = runnable.toSorted((a, b) => b.sizeBytes - a.sizeBytes);
  const chosen = bySize.find((model) => model.sizeBytes <= availableBytes * comfortableShare) ?? bySize.at(-1);
  if (chosen) return chosen;
  const what = wanted.variant === undefined ? wanted.modelId : `${wanted.modelId} (${wanted.variant})`;
  const variants = installed.map((model) => model.variant ?? model.quantization).filter((variant) => variant !== null);
  throw new AppError('MODEL_NOT_INSTALLED', `${what} is not installed; download it first.`, { details: { model_id: wanted.modelId, installed_variants: variants } });
}

function isVariant(model: InstalledModelView, variant: string): boolean {
  const wanted = variant.toLowerCase();
  return model.variant?.toLowerCase() === wanted || model.quantization?.toLowerCase() === wanted;
}

export type ModelFiles = {
  /** Absolute; of the first part. */
  path: string;
  /** Of all parts. */
  bytes: number;
  /** All parts of a model in safetensors, in order; null = a GGUF. */
  parts: readonly string[] | null;
};

/** The file that an engine is given and what all parts weigh. Throws UNSUPPORTED_MODEL. */
export function modelFilesOf(model: InstalledModelView): ModelFiles {
  return model.format.toLowerCase() === 'safetensors' ? safetensorsFilesOf(model) : ggufFilesOf(model);
}

/** Weights at the top are the model itself; some repositories carry them a second time in the publisher's own layout. */
function safetensorsFilesOf(model: InstalledModelView): ModelFiles {
  const weights = model.files.filter((file) => /^[^/]+\.safetensors$/i.test(file.path));
  const usual = weights.filter((file) => isUsualWeights(file.path));
  const members = (usual.length > 0 ? usual : weights).toSorted((a, b) => (a.path < b.path ? -1 : 1));
  const parts = members.map((file) => pathWithin(model.folder, file.path));
  const [path] = parts;
  if (path === undefined) throw new AppError('UNSUPPORTED_MODEL', `${model.modelId} has no safetensors file that could be started.`);
  return { path, bytes: members.reduce((sum, file) => sum + file.sizeBytes, 0), parts };
}

/** The first part of a split model stands for all. */
export function ggufFilesOf(model: InstalledModelView): ModelFiles {
  const ggufs = model.files.filter((file) => /\.gguf$/i.test(file.path) && !/(^|\/)mmproj/i.test(file.path));
  const first = ggufs.find((file) => firstShardPattern.test(file.path)) ?? ggufs.find((file) => !shardPattern.test(file.path));
  if (!first) throw new AppError('UNSUPPORTED_MODEL', `${model.modelId} has no GGUF file that could be started.`);
  const prefix = first.path.replace(firstShardPattern, '');
  const parts = firstShardPattern.test(first.path) ? ggufs.filter((file) => file.path.startsWith(prefix) && shardPattern.test(file.path)) : [first];
  return { path: pathWithin(model.folder, first.path), bytes: parts.reduce((sum, file) => sum + file.sizeBytes, 0), parts: null };
}

/** Rows are written from checked names; a path that leaves its folder all the same is never opened. */
function pathWithin(folder: string, path: string): string {
  const clean = normalize(path);
  if (isAbsolute(clean) || clean.startsWith('..')) throw new AppError('UNSAFE_FILE', 'The model has a file name that leads out of its folder.');
  return join(folder, clean);
}
