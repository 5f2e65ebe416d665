import { readdir, realpath } from 'node:fs/promises';
import path from 'node:path';
import { isUsualWeights } from '../../../../shared/safetensors/weight-names.ts';

export type MountedFile = { source: string; target: string };

const folderInside = '/models';
const firstPart = /-00001-of-\d{5}\.gguf$/i;
const part = /-\d{5}-of-\d{5}\.gguf$/i;
const safetensors = /\.safetensors$/i;
/** What a server reads beside the weights; nothing that could be run. */
const companion = /\.(?:json|txt|jinja|jinja2|tiktoken|model)$/i;

/**
 * The files of a model as a container is to see them: each alone and where its name says, because in every store the
 * names are links to blobs that lie among those of other models. `inside` is what a server is given: the file, or the
 * folder of a model in safetensors.
 */
export async function mountModel(modelPath: string): Promise<{ files: MountedFile[]; inside: string }> {
  const folder = path.dirname(modelPath);
  const first = path.basename(modelPath);
  const names = await namesOf(folder, first);
  const files = await Promise.all(names.map(async (name) => ({ source: await realpath(path.join(folder, name)), target: path.posix.join(folderInside, name) })));
  return { files, inside: safetensors.test(first) ? folderInside : path.posix.join(folderInside, first) };
}

async function namesOf(folder: string, first: string): Promise<string[]> {
  if (safetensors.test(first)) {
    const isUsual = isUsualWeights(first);
    return (await readdir(folder)).filter((name) => companion.test(name) || (safetensors.test(name) && (!isUsual || isUsualWeights(name))));
  }
  return firstPart.test(first) ? (await readdir(folder)).filter((name) => part.test(name) && name.startsWith(first.replace(firstPart, ''))) : [first];
}
