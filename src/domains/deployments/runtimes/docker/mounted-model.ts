import { readdir, realpath } from 'node:fs/promises';
import path from 'node:path';

export type MountedFile = { source: string; target: string };

const folderInside = '/models';
const firstPart = /-00001-of-\d{5}\.gguf$/i;
const part = /-\d{5}-of-\d{5}\.gguf$/i;

/**
 * The files of a model as a container is to see them: each alone and where its name says, because in every store the
 * names are links to blobs that lie among those of other models. `fileInside` is the one that a server is given.
 */
export async function mountModel(modelPath: string): Promise<{ files: MountedFile[]; fileInside: string }> {
  const folder = path.dirname(modelPath);
  const first = path.basename(modelPath);
  const names = firstPart.test(first) ? (await readdir(folder)).filter((name) => part.test(name) && name.startsWith(first.replace(firstPart, ''))) : [first];
  const files = await Promise.all(names.map(async (name) => ({ source: await realpath(path.join(folder, name)), target: path.posix.join(folderInside, name) })));
  return { files, fileInside: path.posix.join(folderInside, first) };
}
