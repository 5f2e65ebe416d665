import { lstat, readdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { parseModelRef } from '../../catalog/model-ref.ts';
import type { ModelRef } from '../../catalog/types.ts';
import { isMissingFile } from '../transfer/faults.ts';
import { isSafePath } from './safe-path.ts';
import { systemErrorCode } from '../../../shared/system-error.ts';

export type CachedFile = {
  /** In the model. */
  path: string;
  /** Where its bytes lie; within the model's folder of the cache. */
  file: string;
  sizeBytes: number;
  /** Bare hex; what the cache names its blob by. */
  sha256: string | null;
  gitSha1: string | null;
};
export type CachedSnapshot = { ref: ModelRef; /** Commit. */ revision: string; folder: string; files: readonly CachedFile[] };

const foldersMax = 10_000;
const filesMax = 2_000;
const depthMax = 8;

/** What the tools that share the Hugging Face cache have put there, one snapshot after the other; only reads names. */
export async function* cachedSnapshots(hfCacheDir: string): AsyncGenerator<CachedSnapshot> {
  for (const name of (await namesIn(hfCacheDir)).slice(0, foldersMax)) {
    const ref = refOf(name);
    if (!ref) continue;
    const home = join(hfCacheDir, name);
    for (const revision of await namesIn(join(home, 'snapshots'))) {
      const folder = join(home, 'snapshots', revision);
      if (/^[0-9a-f]{40}$/.test(revision) && (await isFolder(folder))) yield { ref, revision, folder, files: await listFiles(await realpath(home), folder, '', 0) };
    }
  }
}

/** `models--org--name`; an owner has no two dashes in a row. */
function refOf(folder: string): ModelRef | null {
  const name = /^models--(.+)$/.exec(folder)?.[1]?.replace('--', '/');
  if (name === undefined) return null;
  try {
    return parseModelRef(`huggingface:${name}`);
  } catch {
    return null;
  }
}

async function listFiles(home: string, folder: string, prefix: string, depth: number): Promise<CachedFile[]> {
  const found: CachedFile[] = [];
  for (const name of await namesIn(folder)) {
    const path = `${prefix}${name}`;
    const place = join(folder, name);
    if (name.startsWith('.') || !isSafePath(path) || found.length >= filesMax) continue;
    if (await isFolder(place)) {
      if (depth < depthMax) found.push(...(await listFiles(home, place, `${path}/`, depth + 1)));
      continue;
    }
    const file = await cachedFile(home, path, place);
    if (file) found.push(file);
  }
  return found.slice(0, filesMax);
}

/** Null for what is not there, is no plain file, or lies outside the model's own folder. */
async function cachedFile(home: string, path: string, place: string): Promise<CachedFile | null> {
  const file = await orNull(realpath(place));
  const found = file === null ? null : await orNull(stat(file));
  if (file === null || found?.isFile() !== true || !file.startsWith(`${home}/`)) return null;
  const blob = dirname(file) === `${home}/blobs` ? basename(file) : '';
  return { path, file, sizeBytes: found.size, sha256: /^[0-9a-f]{64}$/.test(blob) ? blob : null, gitSha1: /^[0-9a-f]{40}$/.test(blob) ? blob : null };
}

async function namesIn(folder: string): Promise<string[]> {
  return ((await orNull(readdir(folder))) ?? []).sort();
}

async function isFolder(path: string): Promise<boolean> {
  return (await orNull(lstat(path)))?.isDirectory() ?? false;
}

async function orNull<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work;
  } catch (error) {
    if (isMissingFile(error) || isNotThere(error)) return null;
    throw error;
  }
}

/** A file where a folder should be, a link that leads to itself, or what belongs to somebody else. */
function isNotThere(error: unknown): boolean {
  return ['ENOTDIR', 'ELOOP', 'EACCES'].includes(systemErrorCode(error) ?? '');
}
