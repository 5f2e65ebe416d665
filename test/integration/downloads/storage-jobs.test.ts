import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import type { FileScanner } from '../../../src/domains/downloads/file-scanner.ts';
import { StorageJobRepository } from '../../../src/domains/downloads/storage-job.repository.ts';
import type { InstalledModelView, StorageJobView } from '../../../src/domains/downloads/types.ts';
import { createGate, type Gate } from '../../../src/shared/async.ts';
import { admin, never, operator } from '../../support/downloads/room.ts';
import { q4Bytes, q4Request, useWorld } from '../../support/downloads/world.ts';
import { eventually } from '../../support/eventually.ts';
import { Society } from '../../support/instances.ts';
import { buildTinyGguf } from '../../support/tiny-gguf.ts';

const world = useWorld();
const nobody = '0192f000-0000-7000-8000-000000000009';

/** A scanner that, once closed, looks at nothing before its gate opens: work that takes as long as a test wants. */
class SlowScanner implements FileScanner {
  readonly id = 'slow';
  readonly version = '1';
  #gate: Gate | null = null;
  #arrived = createGate();

  accepts(): boolean {
    return true;
  }

  async scan(_target: unknown, signal: AbortSignal): Promise<readonly []> {
    if (!this.#gate) return [];
    this.#arrived.open();
    const left = Promise.withResolvers<never>();
    signal.addEventListener('abort', () => left.reject(signal.reason as Error), { once: true });
    await Promise.race([this.#gate.opened, left.promise]);
    return [];
  }

  close(): void {
    this.#gate = createGate();
    this.#arrived = createGate();
  }

  open(): void {
    this.#gate?.open();
    this.#gate = null;
  }

  get arrived(): Promise<void> {
    return this.#arrived.opened;
  }
}

async function slowRoom(answerWithinMs: number): Promise<SlowScanner> {
  const scanner = new SlowScanner();
  await world.reopen({ config: { answerWithinMs }, deps: { scanners: [scanner] } });
  return scanner;
}

async function install(): Promise<InstalledModelView> {
  const { task } = await world.room.startDownload(q4Request);
  const { modelId } = await world.room.reaches(task.id, 'completed');
  const [model] = await world.room.installed.findByModel(modelId);
  if (!model) throw new Error('not installed');
  return model;
}

const endOf = (job: StorageJobView | null): Promise<StorageJobView> =>
  eventually('the job ends', async () => {
    const now = await world.room.storageJobs.find(job?.id ?? '');
    return now && now.status !== 'running' ? now : null;
  }, 60_000);

function outsideFile(): string {
  const folder = join(world.room.config.hfCacheDir, '..', 'outside');
  mkdirSync(folder, { recursive: true });
  const path = join(folder, 'mine.gguf');
  writeFileSync(path, buildTinyGguf());
  return path;
}

describe('work on stored models that is done in time', () => {
  it('is answered as done, with no job', async () => {
    const model = await install();
    const before = model.verifiedAt?.getTime() ?? 0;
    const { installedModel, job } = await world.room.storageJobs.verify(model.id, never);
    expect({ job, verification: installedModel.verification }).toEqual({ job: null, verification: 'verified' });
    expect(installedModel.verifiedAt?.getTime()).toBeGreaterThanOrEqual(before);
    expect(await world.room.storageJobs.repair(model.id, operator, never)).toMatchObject({ job: null, task: null });
    expect(await world.room.storageJobs.import({ path: outsideFile(), override: [] }, admin, never)).toMatchObject({ job: null, installedModels: [{ modelId: 'local:mine' }] });
    expect(await world.room.storageJobs.adopt(null, never)).toEqual({ job: null, installedModels: [] });
  });

  it('fails as the work does', async () => {
    await expect(world.room.storageJobs.verify(nobody, never)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(world.room.storageJobs.import({ path: '/nowhere', override: [] }, admin, never)).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
    await expect(world.room.storageJobs.import({ path: outsideFile(), override: [] }, operator, never)).rejects.toMatchObject({ code: 'FORBIDDEN' });
  });

  it('ends with a caller who leaves before the answer', async () => {
    const scanner = await slowRoom(600_000);
    const model = await install();
    scanner.close();
    const caller = new AbortController();
    const verifying = world.room.storageJobs.verify(model.id, caller.signal);
    await scanner.arrived;
    const left = new Error('gone');
    caller.abort(left);
    await expect(verifying).rejects.toBe(left);
    scanner.open();
  });
});

describe('work on stored models that takes longer', () => {
  it('goes on as a job that tells how far it is, and what was found at its end', async () => {
    const scanner = await slowRoom(0);
    const model = await install();
    scanner.close();
    const { installedModel, job } = await world.room.storageJobs.verify(model.id, never);
    expect(installedModel.verifiedAt).toEqual(model.verifiedAt);
    expect(job).toMatchObject({ kind: 'verify', status: 'running', installedModelIds: [model.id], error: null, finishedAt: null });
    await scanner.arrived;
    const now = await world.room.storageJobs.find(job?.id ?? '');
    expect(now).toMatchObject({ status: 'running', totalBytes: q4Bytes });
    expect(now?.readBytes).toBeLessThan(q4Bytes);
    writeFileSync(join(model.folder, 'config.json'), 'x');
    scanner.open();
    expect(await endOf(job)).toMatchObject({ status: 'completed', readBytes: q4Bytes, totalBytes: q4Bytes, installedModelIds: [model.id] });
    const verified = await world.room.installed.find(model.id);
    expect(verified?.verifiedAt?.getTime()).toBeGreaterThan(model.verifiedAt?.getTime() ?? 0);
  });

  it('has what was imported, or the download of a repair, at its end', async () => {
    const scanner = await slowRoom(0);
    const model = await install();
    scanner.close();
    const { job: importing, installedModels } = await world.room.storageJobs.import({ path: outsideFile(), override: [] }, admin, never);
    expect(installedModels).toEqual([]);
    scanner.open();
    const imported = await endOf(importing);
    expect(imported).toMatchObject({ kind: 'import', status: 'completed' });
    expect(await world.room.installed.find(imported.installedModelIds[0] ?? '')).toMatchObject({ modelId: 'local:mine' });
    writeFileSync(join(model.folder, 'config.json'), 'x');
    scanner.close();
    const { job: repairing, task } = await world.room.storageJobs.repair(model.id, operator, never);
    expect(task).toBeNull();
    scanner.open();
    const { taskId } = await endOf(repairing);
    await world.room.reaches(taskId ?? '', 'completed');
    expect(await world.room.installed.find(model.id)).toMatchObject({ verification: 'verified' });
  });

  it('says why it failed', async () => {
    const scanner = await slowRoom(0);
    const path = outsideFile();
    writeFileSync(path, buildTinyGguf().subarray(0, -1));
    scanner.close();
    const { job } = await world.room.storageJobs.import({ path, override: [] }, admin, never);
    scanner.open();
    expect(await endOf(job)).toMatchObject({ status: 'failed', error: { code: 'UNSAFE_FILE' }, installedModelIds: [] });
  });

  it('does not end with its caller, and ends as interrupted with the service, the model as it was', async () => {
    const scanner = await slowRoom(0);
    const model = await install();
    scanner.close();
    const caller = new AbortController();
    const { job } = await world.room.storageJobs.verify(model.id, caller.signal);
    caller.abort(new Error('gone'));
    await scanner.arrived;
    expect(await world.room.storageJobs.find(job?.id ?? '')).toMatchObject({ status: 'running' });
    await world.reopen();
    expect(await world.room.storageJobs.find(job?.id ?? '')).toMatchObject({ status: 'failed', error: { code: 'INTERRUPTED' }, finishedAt: expect.any(Date) });
    expect(await world.room.installed.find(model.id)).toMatchObject({ verification: 'verified', verifiedAt: model.verifiedAt });
  });

  it('of a killed process counts as interrupted, and what its import has left behind goes', async () => {
    const society = new Society();
    const [dead, living] = [society.join(), society.join()];
    const repository = new StorageJobRepository(world.database.em());
    const job = { kind: 'import' as const, readBytes: 5, totalBytes: 10, installedModelIds: [], startedAt: new Date() };
    const [lost, others] = await Promise.all([repository.create({ ...job, instanceId: dead.self.id }), repository.create({ ...job, instanceId: living.self.id })]);
    const { modelsDir } = world.room.config;
    const left = [dead, living].map(({ self }) => join(modelsDir, `.import-${self.id}-${nobody}`));
    for (const folder of left) mkdirSync(folder, { recursive: true });
    await society.die(dead);
    await world.reopen({ deps: { instances: society.join(), soleWorker: false } });
    expect(await world.room.storageJobs.find(lost)).toMatchObject({ status: 'failed', readBytes: 5, error: { code: 'INTERRUPTED' } });
    expect(await world.room.storageJobs.find(others)).toMatchObject({ status: 'running' });
    expect(left.map((folder) => existsSync(folder))).toEqual([false, true]);
    await society.die(living);
    expect(await world.room.storageJobs.find(others)).toMatchObject({ status: 'failed' });
    expect(readdirSync(modelsDir)).toContain(`.import-${living.self.id}-${nobody}`);
  });

  it('is cancelled when somebody asks for it, the model as it was and nothing left of an import', async () => {
    const scanner = await slowRoom(0);
    const model = await install();
    scanner.close();
    const { job: verifying } = await world.room.storageJobs.verify(model.id, never);
    const { job: importing } = await world.room.storageJobs.import({ path: outsideFile(), override: [] }, admin, never);
    await scanner.arrived;
    for (const job of [verifying, importing]) {
      const cancelled = await world.room.storageJobs.cancel(job?.id ?? '');
      expect(cancelled).toMatchObject({ id: job?.id, status: 'cancelled', error: null, finishedAt: expect.any(Date) });
      expect(await world.room.storageJobs.cancel(job?.id ?? '')).toEqual(cancelled);
    }
    expect(await world.room.installed.find(model.id)).toMatchObject({ verification: 'verified', verifiedAt: model.verifiedAt });
    expect(await world.room.installed.findByModel('local:mine')).toEqual([]);
    expect(readdirSync(world.room.config.modelsDir).filter((name) => name.startsWith('.import-'))).toEqual([]);
    scanner.open();
    const { job: done } = await world.room.storageJobs.verify(model.id, never);
    await endOf(done);
    await expect(world.room.storageJobs.cancel(done?.id ?? '')).rejects.toMatchObject({ code: 'INVALID_STATE', details: { status: 'completed' } });
    await expect(world.room.storageJobs.cancel(nobody)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('of another process is cancelled, too, and stays so', async () => {
    const repository = new StorageJobRepository(world.database.em());
    const society = new Society();
    const id = await repository.create({ kind: 'import', readBytes: 5, totalBytes: 10, installedModelIds: [], startedAt: new Date(), instanceId: society.join().self.id });
    expect(await world.room.storageJobs.cancel(id)).toMatchObject({ status: 'cancelled', readBytes: 5 });
    // What its own process has to say then comes too late: that is how it hears of it.
    expect(await repository.saveProgress(id, { readBytes: 6, totalBytes: 10 })).toBe(false);
    expect(await repository.end(id, 'completed', { at: new Date() })).toBe(false);
  });

  it('is refused when too much of it goes on', async () => {
    const scanner = await slowRoom(0);
    const path = outsideFile();
    scanner.close();
    const started = await Promise.all(Array.from({ length: 16 }, () => world.room.storageJobs.import({ path, override: [] }, admin, never)));
    await expect(world.room.storageJobs.import({ path, override: [] }, admin, never)).rejects.toMatchObject({ code: 'OVERLOADED', retryAfterSeconds: expect.any(Number) });
    scanner.open();
    for (const { job } of started) expect(await endOf(job)).toMatchObject({ status: 'completed' });
  });
});
