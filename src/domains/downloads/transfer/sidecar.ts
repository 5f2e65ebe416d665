import { constants } from 'node:fs';
import { open, readFile, rename, rm, stat } from 'node:fs/promises';
import { z } from 'zod';
import { isMissingFile } from './faults.ts';
import { isValidProgress, type PartProgress } from './part-map.ts';

/** What the bytes of a partial file belong to; when any of it changes they are worth nothing. */
export type FileIdentity = {
  /** Canonical id of the model. */
  modelId: string;
  /** Pinned. */
  revision: string;
  path: string;
  sizeBytes: number;
  sha256: string | null;
  gitSha1: string | null;
};

export type Sidecar = {
  identity: FileIdentity;
  partBytes: number;
  /** In the file, perhaps only in the page cache. */
  done: PartProgress;
  /** On the disk for certain. */
  synced: PartProgress;
  bootId: string | null;
  /** The storage's mark for the bytes, and the host that gave it. */
  etag: { host: string; value: string } | null;
  /** SHA-256 of the whole file once it was compared with what the source promised. */
  verified: string | null;
};

export type SidecarState = Pick<Sidecar, 'done' | 'synced' | 'etag' | 'verified'>;

const bytes = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const hash = (length: number) => z.string().regex(new RegExp(`^[0-9a-f]{${length}}$`));
const progressSchema = z.strictObject({ prefix: bytes, parts: z.array(z.tuple([bytes, bytes])).max(100_000) });
const sidecarSchema = z.strictObject({
  version: z.literal(1),
  identity: z.strictObject({
    modelId: z.string(),
    revision: z.string(),
    path: z.string(),
    sizeBytes: bytes,
    sha256: hash(64).nullable(),
    gitSha1: hash(40).nullable(),
  }),
  partBytes: bytes.min(1).max(2 ** 31),
  done: progressSchema,
  synced: progressSchema,
  bootId: z.string().nullable(),
  etag: z.strictObject({ host: z.string(), value: z.string() }).nullable(),
  verified: hash(64).nullable(),
});

/** Far more than a map of any real file needs. */
const sidecarBytesMax = 8 * 1024 * 1024;

export function sidecarPathOf(partPath: string): string {
  return `${partPath}.json`;
}

/** Written only together with a sync of the data: what is read when a power cut has spoilt the other one. */
export function syncedSidecarPathOf(partPath: string): string {
  return `${partPath}.synced.json`;
}

/**
 * By temporary file and rename, so that a kill leaves the old or the new one. A `durable` one is also on the disk
 * before it gets its name.
 */
export async function writeSidecar(path: string, sidecar: Sidecar, durable: boolean): Promise<void> {
  const temporary = `${path}.tmp`;
  const file = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW, 0o600);
  try {
    await file.writeFile(JSON.stringify({ version: 1, ...sidecar }));
    if (durable) await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
}

/** Null when there is none, or none that can be believed. */
export async function readSidecar(path: string): Promise<Sidecar | null> {
  let text: string;
  try {
    if ((await stat(path)).size > sidecarBytesMax) return null;
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (isMissingFile(error)) return null;
    throw error;
  }
  const parsed = sidecarSchema.safeParse(parseJson(text));
  if (!parsed.success) return null;
  const { version: _version, ...sidecar } = parsed.data;
  const { sizeBytes } = sidecar.identity;
  return [sidecar.done, sidecar.synced].every((progress) => isValidProgress(progress, sizeBytes, sidecar.partBytes)) ? sidecar : null;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // Half a file after a power cut says nothing.
    return null;
  }
}

/** The sidecar of a partial file, when it is about just this file: the one that can be believed in this boot. */
export async function findSidecar(partPath: string, identity: FileIdentity, bootId: string | null): Promise<Sidecar | null> {
  const latest = await readOwn(sidecarPathOf(partPath), identity);
  if (latest && latest.bootId === bootId && bootId !== null) return latest;
  return (await readOwn(syncedSidecarPathOf(partPath), identity)) ?? latest;
}

async function readOwn(path: string, identity: FileIdentity): Promise<Sidecar | null> {
  const sidecar = await readSidecar(path);
  return sidecar && isSameFile(sidecar.identity, identity) ? sidecar : null;
}

export function isSameFile(left: FileIdentity, right: FileIdentity): boolean {
  const names = ['modelId', 'revision', 'path'] as const;
  const content = ['sizeBytes', 'sha256', 'gitSha1'] as const;
  if (!content.every((name) => left[name] === right[name])) return false;
  // Bytes with a digest are the same wherever they come from; without one only the place says what they are.
  return left.sha256 !== null || left.gitSha1 !== null || names.every((name) => left[name] === right[name]);
}

/** What of the file can be relied on in this run of the operating system. */
export function trustedProgress(sidecar: Sidecar, bootId: string | null): PartProgress {
  return bootId !== null && sidecar.bootId === bootId ? sidecar.done : sidecar.synced;
}

/** The data, its sidecars and what a kill in the middle of writing them has left. */
export async function removePartFiles(partPath: string): Promise<void> {
  const sidecars = [sidecarPathOf(partPath), syncedSidecarPathOf(partPath)];
  // Sidecars first: a map without its file must not outlive it.
  for (const path of [...sidecars, ...sidecars.map((sidecar) => `${sidecar}.tmp`), partPath]) await rm(path, { force: true });
}
