import { chmod, chown, cp, mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { openDatabase } from '../../../src/infrastructure/database/database.ts';
import type { Database } from '../../../src/infrastructure/database/database.ts';
import { findNativeFolder, prepareBinaries } from '../../../src/infrastructure/database/postgres-binaries.ts';
import { readPostmasterFile, stopPostmaster } from '../../../src/infrastructure/database/postmaster.ts';
import { identifyProcess } from '../../../src/platform/process-identity.ts';
import { LockHeldError } from '../../../src/infrastructure/data-folder/lock-file.ts';
import { newId } from '../../../src/shared/ids.ts';
import { ensureSearchIndex, searchIndexName } from '../../../src/domains/chat/search-index.repository.ts';
import { StateEvent } from '../../../src/shared/persistence/state-event.entity.ts';
import { startChildProgram } from '../../support/child-program.ts';
import { createTemporaryFolder } from '../../support/data-dir.ts';
import type { TemporaryFolder } from '../../support/data-dir.ts';
import { eventually } from '../../support/eventually.ts';
import { createRecordingLogger } from '../../support/recording-logger.ts';

const isRoot = process.getuid?.() === 0;
const itAsRoot = isRoot ? it : it.skip;
const program = join(process.cwd(), 'test', 'support', 'programs', 'open-database.ts');

let folder: TemporaryFolder;
let dataDir: string;
let opened: Database[] = [];
beforeEach(async () => {
  folder = await createTemporaryFolder();
  dataDir = join(folder.path, 'data');
});
afterEach(async () => {
  // A failed test may leave its server running, and the one that watches over it.
  await Promise.all(opened.map((database) => database.stop(AbortSignal.timeout(5_000))));
  opened = [];
  const left = await readPostmasterFile(join(dataDir, 'database', 'cluster'));
  if (left) await stopPostmaster(left.pid, AbortSignal.timeout(5_000));
  await folder.remove();
});

async function open(logger = createRecordingLogger()): Promise<Database> {
  const database = await openDatabase({ config: { kind: 'embedded' }, dataDir, logger }, AbortSignal.timeout(30_000));
  opened.push(database);
  return database;
}

async function addRow(database: Database, toState = 'queued'): Promise<void> {
  const em = database.orm.em.fork();
  em.create(StateEvent, { kind: 'download', subjectId: newId(), fromState: null, toState, reason: null, at: new Date() });
  await em.flush();
}

async function postmaster(): Promise<{ pid: number; port: number }> {
  return (await readPostmasterFile(join(dataDir, 'database', 'cluster'))) ?? { pid: 0, port: 0 };
}

describe('the embedded PostgreSQL', () => {
  it('keeps rows over a stop and a start, and leaves no process behind', async () => {
    const first = await open();
    expect(first.kind).toBe('embedded-postgres');
    await addRow(first);
    const { pid } = await postmaster();
    await first.stop(AbortSignal.timeout(10_000));
    expect(await identifyProcess(pid)).toBeNull();

    const second = await open();
    expect(await second.orm.em.fork().count(StateEvent)).toBe(1);
    await second.stop(AbortSignal.timeout(10_000));
  });

  it('listens on the loopback address alone, with a password that only its user can read', async () => {
    const database = await open();
    const settings = await database.orm.em.getConnection().execute<{ name: string; setting: string }[]>(
      "select name, setting from pg_settings where name in ('listen_addresses', 'unix_socket_directories', 'fsync', 'password_encryption')",
    );
    expect(Object.fromEntries(settings.map((row) => [row.name, row.setting]))).toEqual({
      listen_addresses: '127.0.0.1',
      unix_socket_directories: '',
      fsync: 'on',
      password_encryption: 'scram-sha-256',
    });
    expect((await stat(join(dataDir, 'database', 'password'))).mode & 0o777).toBe(0o600);
    expect((await stat(join(dataDir, 'database'))).mode & 0o777).toBe(0o700);
    expect((await stat(dataDir)).mode & 0o777).toBe(isRoot ? 0o711 : 0o700);
    await database.stop(AbortSignal.timeout(10_000));
  });

  it('takes over the server that a killed service has left running', async () => {
    const child = startChildProgram(program, [dataDir]);
    expect(await child.nextLine()).toEqual({ kind: 'embedded-postgres' });
    const before = await postmaster();
    await child.kill('SIGKILL');
    expect(await identifyProcess(before.pid)).not.toBeNull();

    const logger = createRecordingLogger();
    const database = await open(logger);
    await addRow(database);
    expect(await postmaster()).toEqual(before);
    expect(logger.records.map((record) => record.message)).toContain('took over the database server of an earlier start');
    await database.stop(AbortSignal.timeout(10_000));
    expect(await identifyProcess(before.pid)).toBeNull();
  });

  it('starts again at once after service and server were killed together, with every acknowledged row', async () => {
    const seeding = await open();
    await addRow(seeding, 'a');
    await addRow(seeding, 'b');
    await seeding.stop(AbortSignal.timeout(10_000));
    const child = startChildProgram(program, [dataDir]);
    await child.nextLine();
    const { pid } = await postmaster();
    await child.kill('SIGKILL');
    process.kill(pid, 'SIGKILL');
    const database = await open();
    expect((await postmaster()).pid).not.toBe(pid);
    expect(await database.orm.em.fork().count(StateEvent)).toBe(2);
    await database.stop(AbortSignal.timeout(10_000));
  });

  it('starts a server again that ended by itself, where its connections find it', async () => {
    const logger = createRecordingLogger();
    const database = await open(logger);
    await addRow(database);
    const { pid } = await postmaster();
    process.kill(pid, 'SIGKILL');
    await eventually('a new server', async () => ![0, pid].includes((await postmaster()).pid));
    // Connections of before may have answered until their backend saw its parent gone.
    const count = await eventually('an answer of the new server', () => database.orm.em.fork().count(StateEvent).catch(() => 0));
    expect(count).toBe(1);
    expect(logger.records.map((record) => record.message)).toContain('the database server ended by itself; starting it again');
    await database.stop(AbortSignal.timeout(10_000));
  });

  it('ends an immediate shutdown when its deadline has passed already', async () => {
    const database = await open();
    const { pid } = await postmaster();
    await database.stop(AbortSignal.abort());
    expect(await identifyProcess(pid)).toBeNull();
  });

  itAsRoot('works for an ordinary user in a folder of their own', async () => {
    await mkdir(dataDir, { mode: 0o700 });
    await chown(dataDir, 65_534, 65_534);
    const child = startChildProgram(program, [dataDir], { uid: 65_534, gid: 65_534 });
    expect(await child.nextLine()).toEqual({ kind: 'embedded-postgres' });
    expect((await stat(dataDir)).mode & 0o777).toBe(0o700);
    child.process.stdin?.end();
    expect(await child.nextLine()).toEqual({ stopped: true });
  });

  itAsRoot('copies binaries that another user cannot reach into the data area', async () => {
    const closed = join(folder.path, 'closed');
    await mkdir(closed, { mode: 0o700 });
    const native = findNativeFolder() ?? '';
    await cp(join(native, '..'), join(closed, 'package'), { recursive: true, verbatimSymlinks: true });
    const copyParent = join(folder.path, 'area');
    const options = { native: join(closed, 'package', 'native'), copyParent, runAs: { uid: 65_534, gid: 65_534 } };
    const [one, two] = await Promise.all([prepareBinaries(options), prepareBinaries(options)]);
    expect(one).toEqual(two);
    expect(one.postgres.startsWith(copyParent)).toBe(true);
  });
});

describe('PGlite in place of the embedded PostgreSQL', () => {
  itAsRoot('is used, loudly, below a folder that is closed to other users, and is kept from then on', async () => {
    await chmod(folder.path, 0o700);
    const logger = createRecordingLogger();
    const first = await open(logger);
    expect(first.kind).toBe('pglite');
    expect((await stat(join(dataDir, 'pglite'))).mode & 0o777).toBe(0o700);
    expect(logger.records).toContainEqual(expect.objectContaining({ level: 'warn', message: expect.stringContaining('PGlite') }));
    await addRow(first);
    await expect(open()).rejects.toThrow(LockHeldError);
    await ensureSearchIndex(first.orm.em, logger);
    await first.stop(AbortSignal.timeout(5_000));

    await chmod(folder.path, 0o711);
    const second = await open();
    expect(second.kind).toBe('pglite');
    expect(await second.orm.em.fork().count(StateEvent)).toBe(1);
    expect(await second.orm.em.fork().execute('select indexname from pg_indexes where indexname = ?', [searchIndexName])).toHaveLength(1);
    await second.stop(AbortSignal.timeout(5_000));
  });

  itAsRoot('is opened again after a kill, because the lock of a dead process counts for nothing', async () => {
    await chmod(folder.path, 0o700);
    const child = startChildProgram(program, [dataDir]);
    expect(await child.nextLine()).toEqual({ kind: 'pglite' });
    await expect(open()).rejects.toMatchObject({ pid: child.pid });
    await child.kill('SIGKILL');
    expect(JSON.parse(await readFile(join(dataDir, 'pglite.lock'), 'utf8'))).toMatchObject({ pid: child.pid });
    const database = await open();
    await database.ping(AbortSignal.timeout(5_000));
    await database.stop(AbortSignal.timeout(5_000));
  });
});
