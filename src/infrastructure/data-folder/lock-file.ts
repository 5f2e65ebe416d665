import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { sleep } from '../../shared/async.ts';
import { identifyProcess, isSameProcess } from '../../platform/process-identity.ts';
import type { ProcessIdentity } from '../../platform/process-identity.ts';

/** A lock is held by a process that lives. */
export class LockHeldError extends Error {
  override readonly name = 'LockHeldError';
  readonly pid: number;

  constructor(path: string, pid: number) {
    super(`${path} is held by the running process ${pid}`);
    this.pid = pid;
  }
}

export type LockFile = { readonly path: string; release(): Promise<void> };

const holderSchema = z.object({ pid: z.int().positive(), startTime: z.string() });
const attemptsMax = 100;
const takeoverPauseMs = 20;

/**
 * Takes the lock at `path` for this process, or throws LockHeldError. A lock whose holder is gone (pid and start
 * time compared) is replaced; one of a live holder never is.
 */
export async function acquireLockFile(path: string): Promise<LockFile> {
  const self = await identifyProcess(process.pid);
  if (!self) throw new Error('this process cannot be identified; is /proc mounted, or ps installed?');
  const candidate = `${path}.${process.pid}-${randomUUID()}`;
  // Linked into place with its text already inside, so that no reader ever meets a half-written lock.
  await writeFile(candidate, JSON.stringify(self), { mode: 0o600, flag: 'wx' });
  try {
    for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
      if (await linked(candidate, path)) return lockAt(path, self);
      const holder = await readHolder(path);
      if (holder && (await isSameProcess(holder))) throw new LockHeldError(path, holder.pid);
      if (await replaceStale(path, candidate, holder)) return lockAt(path, self);
      await sleep(takeoverPauseMs);
    }
    throw new Error(`the stale lock ${path} could not be replaced`);
  } finally {
    await rm(candidate, { force: true });
  }
}

/** The living process that holds the lock, or null. */
export async function readLockHolder(path: string): Promise<ProcessIdentity | null> {
  const holder = await readHolder(path);
  return holder && (await isSameProcess(holder)) ? holder : null;
}

/**
 * Two starters may find the same stale lock. Only the one that owns the take-over file replaces it, after it has
 * looked again, so that none removes the lock that the other has just made.
 */
async function replaceStale(path: string, candidate: string, stale: ProcessIdentity | null): Promise<boolean> {
  const takeover = `${path}.takeover`;
  if (!(await linked(candidate, takeover))) {
    const taker = await readHolder(takeover);
    if (!taker || !(await isSameProcess(taker))) await rm(takeover, { force: true });
    return false;
  }
  try {
    const holder = await readHolder(path);
    if (holder?.pid !== stale?.pid || holder?.startTime !== stale?.startTime) return false;
    const own = `${candidate}.own`;
    await link(candidate, own);
    await rename(own, path);
    return true;
  } finally {
    await rm(takeover, { force: true });
  }
}

async function linked(existing: string, path: string): Promise<boolean> {
  try {
    await link(existing, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function readHolder(path: string): Promise<ProcessIdentity | null> {
  try {
    return holderSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    // Gone meanwhile, or not written by this program: nobody who lives can be named.
    return null;
  }
}

function lockAt(path: string, self: ProcessIdentity): LockFile {
  let released = false;
  const release = async (): Promise<void> => {
    // Once: this process may have taken the lock anew since, and that one is not ours to give back.
    if (released) return;
    released = true;
    const holder = await readHolder(path);
    if (holder?.pid === self.pid && holder.startTime === self.startTime) await rm(path, { force: true });
  };
  return { path, release };
}
