import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { DataFolderInUseError, lockDataFolder, prepareDataFolder } from '../../../src/infrastructure/data-folder/data-folder.ts';
import type { DataFolder } from '../../../src/infrastructure/data-folder/data-folder.ts';
import { findRunningServer, readAdminKey, removeServerFile, writeAdminKey, writeServerFile } from '../../../src/infrastructure/data-folder/folder-files.ts';
import { identifyProcess, isSameProcess } from '../../../src/platform/process-identity.ts';
import { writeFileAtomic } from '../../../src/infrastructure/data-folder/write-file-atomic.ts';
import { startChildProgram } from '../../support/child-program.ts';
import type { ChildProgram } from '../../support/child-program.ts';
import { createTemporaryFolder } from '../../support/data-dir.ts';
import type { TemporaryFolder } from '../../support/data-dir.ts';

const program = join(process.cwd(), 'test', 'support', 'programs', 'hold-lock.ts');
const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;

let temporary: TemporaryFolder;
let folder: DataFolder;
let children: ChildProgram[] = [];
beforeEach(async () => {
  temporary = await createTemporaryFolder();
  folder = await prepareDataFolder(join(temporary.path, 'data'));
});
afterEach(async () => {
  await Promise.all(children.map((child) => child.kill('SIGKILL')));
  children = [];
  await temporary.remove();
});

function hold(): ChildProgram {
  const child = startChildProgram(program, [folder.path]);
  children.push(child);
  return child;
}

describe('the data folder', () => {
  it('is closed to others, and stays searchable only where the database must run as another user', async () => {
    await chmod(folder.path, 0o777);
    await chmod(folder.logs, 0o777);
    await prepareDataFolder(folder.path);
    expect(await modeOf(folder.path)).toBe(process.getuid?.() === 0 ? 0o711 : 0o700);
    expect(await modeOf(folder.logs)).toBe(0o700);
  });

  it('refuses a second service with the pid of the first, until the first has ended', async () => {
    const first = hold();
    expect(await first.nextLine()).toEqual({ locked: true });
    await expect(lockDataFolder(folder)).rejects.toThrow(DataFolderInUseError);
    await expect(lockDataFolder(folder)).rejects.toMatchObject({ pid: first.pid, message: expect.stringContaining(String(first.pid)) });
    first.process.stdin?.end();
    await first.kill('SIGCONT');
    const lock = await lockDataFolder(folder);
    await lock.release();
    expect(await readdir(folder.path)).toEqual(['logs']);
  });

  it('replaces the lock of a killed service, and exactly one of several starters gets it', async () => {
    const killed = hold();
    expect(await killed.nextLine()).toEqual({ locked: true });
    await killed.kill('SIGKILL');
    const starters = [hold(), hold(), hold()];
    const lines = await Promise.all(starters.map((starter) => starter.nextLine()));
    expect(lines.filter((line) => 'locked' in line)).toHaveLength(1);
    const winner = starters[lines.findIndex((line) => 'locked' in line)];
    expect(lines.filter((line) => 'refused' in line)).toEqual([{ refused: winner?.pid }, { refused: winner?.pid }]);
  });

  it('replaces the lock of a process whose pid another one has now', async () => {
    await writeFile(folder.lockFile, JSON.stringify({ pid: process.pid, startTime: 'another life' }));
    const lock = await lockDataFolder(folder);
    expect(JSON.parse(await readFile(folder.lockFile, 'utf8'))).toEqual(await identifyProcess(process.pid));
    await lock.release();
  });

  it('is not given back by a second release of an earlier lock', async () => {
    const earlier = await lockDataFolder(folder);
    await earlier.release();
    const later = await lockDataFolder(folder);
    await earlier.release();
    await expect(lockDataFolder(folder)).rejects.toThrow(DataFolderInUseError);
    await later.release();
  });

  it('replaces a lock that says nothing', async () => {
    await writeFile(folder.lockFile, '');
    const lock = await lockDataFolder(folder);
    await lock.release();
  });

  it('removes what a killed atomic write has left', async () => {
    const left = join(folder.path, `admin.key.123-${'0'.repeat(8)}-0000-0000-0000-${'0'.repeat(12)}.tmp`);
    await writeFile(left, 'half');
    const lock = await lockDataFolder(folder);
    expect(await readdir(folder.path)).toEqual(['logs', 'service.lock']);
    await lock.release();
  });

  it("finds the running service by server.json, and none by a crashed one's", async () => {
    const lock = await lockDataFolder(folder);
    const info = { pid: process.pid, url: 'http://127.0.0.1:4747', version: '0.1.0', started_at: '2026-01-01T00:00:00.000Z' };
    await writeServerFile(folder, info);
    expect(await findRunningServer(folder)).toEqual(info);
    await removeServerFile(folder, process.pid + 1);
    expect(await findRunningServer(folder)).toEqual(info);
    await lock.release();
    expect(await findRunningServer(folder)).toBeNull();
    await removeServerFile(folder, process.pid);
    expect(await readdir(folder.path)).toEqual(['logs']);
  });

  it('keeps the admin key readable by its own user alone', async () => {
    expect(await readAdminKey(folder)).toBeNull();
    await writeAdminKey(folder, 'llmm_key');
    expect(await readAdminKey(folder)).toBe('llmm_key');
    expect(await modeOf(folder.adminKeyFile)).toBe(0o600);
    expect(await readFile(folder.adminKeyFile, 'utf8')).toBe('llmm_key\n');
  });
});

describe('an atomic write', () => {
  it('replaces the text, and leaves no temporary file when it fails', async () => {
    const path = join(folder.path, 'state');
    await writeFileAtomic(path, 'old');
    await writeFileAtomic(path, 'new');
    expect(await readFile(path, 'utf8')).toBe('new');
    await mkdir(join(folder.path, 'occupied'));
    await expect(writeFileAtomic(join(folder.path, 'occupied'), 'new')).rejects.toThrow();
    expect((await readdir(folder.path)).toSorted()).toEqual(['logs', 'occupied', 'state']);
  });
});

describe('the identity of a process', () => {
  it('ends with the process', async () => {
    const child = hold();
    await child.nextLine();
    const identity = await identifyProcess(child.pid);
    expect(identity).not.toBeNull();
    expect(await isSameProcess(identity!)).toBe(true);
    await child.kill('SIGKILL');
    expect(await isSameProcess(identity!)).toBe(false);
    expect(await identifyProcess(0)).toBeNull();
  });
});
