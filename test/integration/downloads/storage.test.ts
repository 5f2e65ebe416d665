import { existsSync, linkSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { PartDigestRepository } from '../../../src/domains/downloads/part-digest.repository.ts';
import type { InstalledModelView } from '../../../src/domains/downloads/types.ts';
import { createTemporaryFolder, type TemporaryFolder } from '../../support/data-dir.ts';
import { MiB, sha256OfFile } from '../../support/downloads/engine.ts';
import { admin, ggufContent, never, operator } from '../../support/downloads/room.ts';
import { blob, q4, q4Request, useWorld } from '../../support/downloads/world.ts';
import { eventually } from '../../support/eventually.ts';
import { sha256Of } from '../../support/hub/content.ts';
import { buildTinyGguf } from '../../support/tiny-gguf.ts';

const world = useWorld();
const partBytes = 16 * MiB;
const large = ggufContent('large', 5 * partBytes + 12_345);

async function install(request: { modelId?: string; variant?: string } = q4Request): Promise<InstalledModelView> {
  const { task } = await world.room.startDownload(request);
  const { modelId } = await world.room.reaches(task.id, 'completed');
  const [model] = await world.room.installed.findByModel(modelId);
  if (!model) throw new Error('not installed');
  return model;
}

function flipBit(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at] = (bytes[at] ?? 0) ^ 4;
  writeFileSync(path, bytes);
}

const weights = (model: InstalledModelView): string => realpathSync(join(model.folder, model.files.find(({ path }) => path.endsWith('.gguf'))?.path ?? ''));
const damageOf = (model: InstalledModelView): (string | undefined)[] => model.files.filter(({ path }) => path.endsWith('.gguf')).map(({ damage }) => damage);

describe('verifying', () => {
  it('says that all is well, and that it was looked at', async () => {
    const model = await install();
    const before = model.verifiedAt?.getTime() ?? 0;
    const verified = await world.room.installed.verify(model.id, never);
    expect(verified).toMatchObject({ verification: 'verified' });
    expect(verified.verifiedAt?.getTime()).toBeGreaterThanOrEqual(before);
    expect(verified.files.map(({ scan }) => scan?.verdict)).toEqual(['CLEAN', 'CLEAN', 'CLEAN']);
  });

  it('finds one wrong bit, and the file that has it', async () => {
    const model = await install();
    flipBit(weights(model), 3 * MiB + 7);
    const verified = await world.room.installed.verify(model.id, never);
    expect(verified.verification).toBe('damaged');
    expect(verified.files.filter(({ damage }) => damage).map(({ path, damage }) => [path, damage])).toEqual([['tiny.Q4_K_M.gguf', 'damaged']]);
    expect(await world.room.installed.find(model.id)).toMatchObject({ verification: 'damaged' });
  });

  it('finds bytes behind the end, and files that are gone', async () => {
    const model = await install();
    writeFileSync(weights(model), 'more', { flag: 'a' });
    expect(damageOf(await world.room.installed.verify(model.id, never))).toEqual(['damaged']);
    rmSync(weights(model));
    const verified = await world.room.installed.verify(model.id, never);
    expect([verified.verification, damageOf(verified)]).toEqual(['missing', ['missing']]);
  });

  it('of nothing is refused', async () => {
    await expect(world.room.installed.verify('0192f000-0000-7000-8000-000000000009', never)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('repairing', () => {
  beforeAll(() => void world.hub.addRepo({ id: 'acme/large-GGUF', files: [{ path: 'large.Q4_K_M.gguf', content: large }] }));

  async function repair(model: InstalledModelView): Promise<InstalledModelView | null> {
    world.hub.requests.clear();
    const { task } = await world.room.installed.repair(model.id, operator, never);
    expect(task).not.toBeNull();
    // From then on the damaged bytes have no name under which a program would take them for whole.
    await world.room.reaches(task?.id ?? '', 'completed');
    return await world.room.installed.find(model.id);
  }

  /** The digests of the parts are made once the model is installed. */
  const digestsStored = (): Promise<unknown> =>
    eventually('digests are stored', () => new PartDigestRepository(world.database.em()).find(sha256Of(large)), 20_000);

  const fetched = (): number => world.hub.requests.bytesSent(blob);

  it('fetches only the parts that are wrong', async () => {
    const model = await install({ modelId: 'acme/large-GGUF' });
    await digestsStored();
    const path = weights(model);
    flipBit(path, partBytes + 5);
    flipBit(path, 4 * partBytes);
    const repaired = await repair(model);
    expect(repaired).toMatchObject({ id: model.id, verification: 'verified' });
    expect(sha256OfFile(path)).toBe(sha256Of(large));
    expect(fetched()).toBe(2 * partBytes);
  });

  it('fetches what was cut off', async () => {
    const model = await install({ modelId: 'acme/large-GGUF' });
    await digestsStored();
    truncateSync(weights(model), 4 * partBytes + 99);
    await repair(model);
    expect(sha256OfFile(weights(model))).toBe(sha256Of(large));
    expect(fetched()).toBe(partBytes + 12_345);
  });

  it('fetches a file without digests of its parts as a whole, and one that is gone', async () => {
    const model = await install();
    flipBit(weights(model), 5 * MiB);
    rmSync(join(model.folder, 'config.json'));
    const repaired = await repair(model);
    expect(repaired?.verification).toBe('verified');
    expect(fetched()).toBe(6 * MiB);
  });

  it('has digests of parts only as long as a model has the file', async () => {
    const model = await install();
    const digests = new PartDigestRepository(world.database.em());
    for (const sha256 of [sha256Of(q4), sha256Of(large)]) await digests.save(sha256, partBytes, []);
    await world.room.installed.delete(model.id, never);
    await eventually('digests of the deleted are gone', async () => ((await digests.find(sha256Of(q4))) === null ? true : null));
    expect(await digests.find(sha256Of(large))).not.toBeNull();
    // What a killed process had no time to.
    await world.reopen();
    await eventually('digests without a model are gone', async () => ((await digests.all()).length === 0 ? true : null));
  });

  it('of a sound model does nothing', async () => {
    const model = await install();
    expect(await world.room.installed.repair(model.id, operator, never)).toMatchObject({ task: null, installedModel: { verification: 'verified' } });
  });
});

describe('importing', () => {
  let outside: TemporaryFolder;
  const gguf = buildTinyGguf();
  let count = 0;
  let folder = '';

  beforeAll(async () => {
    outside = await createTemporaryFolder('import');
  });
  beforeEach(() => {
    folder = join(outside.path, `${(count += 1)}`);
    mkdirSync(folder);
    rmSync(world.room.config.modelsDir, { recursive: true, force: true });
  });
  afterAll(() => outside.remove());

  const take = (path: string, more: { name?: string; override?: ('scan' | 'unsafe_format')[] } = {}, principal = admin) =>
    world.room.installed.import({ path, override: [], ...more }, principal, never);
  const put = (name: string, content: Buffer | string): string => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  };
  const leftOver = (): string[] => (existsSync(world.room.config.modelsDir) ? readdirSync(world.room.config.modelsDir, { recursive: true, encoding: 'utf8' }).filter((name) => /import-|\.tmp|blobs\//.test(name)) : []);

  it('takes a file in by a hard link, under its own name', async () => {
    const path = put('Tiny Model.Q4_K_M.gguf', gguf);
    const [model] = await take(path);
    expect(model).toMatchObject({ modelId: 'local:Tiny-Model.Q4_K_M', variant: 'Q4_K_M', format: 'gguf', verification: 'verified', sizeBytes: gguf.length });
    if (!model) return;
    expect(statSync(weights(model)).ino).toBe(statSync(path).ino);
    expect(model.files[0]).toMatchObject({ sha256: sha256OfFile(path), scan: { verdict: 'CLEAN' } });
    expect(await world.room.installed.verify(model.id, never)).toMatchObject({ verification: 'verified' });
    await expect(world.room.installed.repair(model.id, admin, never)).resolves.toMatchObject({ task: null });
    await world.room.installed.delete(model.id, never);
    expect(existsSync(path)).toBe(true);
    expect(leftOver()).toEqual([]);
  });

  it('takes a folder in, one model for each variant with the small files that belong to it', async () => {
    put('m.Q4_K_M.gguf', gguf);
    put('m.Q8_0.gguf', buildTinyGguf({ mode: 'loop' }));
    put('config.json', '{}');
    put('notes.docx', 'x');
    put('.hidden.gguf', 'x');
    const models = await take(folder, { name: 'mine' });
    expect(models.map(({ modelId, variant, files }) => [modelId, variant, files.map(({ path }) => path).sort()])).toEqual([
      ['local:mine', 'Q4_K_M', ['config.json', 'm.Q4_K_M.gguf']],
      ['local:mine', 'Q8_0', ['config.json', 'm.Q8_0.gguf']],
    ]);
    expect((await take(folder, { name: 'mine' })).map(({ id }) => id)).toEqual(models.map(({ id }) => id));
  });

  it('cannot be repaired, for there is nothing to fetch it from', async () => {
    const [model] = await take(put('a.gguf', gguf));
    if (!model) throw new Error('not imported');
    rmSync(weights(model));
    await expect(world.room.installed.repair(model.id, admin, never)).rejects.toMatchObject({ code: 'UNSUPPORTED_MODEL' });
  });

  it.each<[string, () => string, string]>([
    ['a link', () => (symlinkSync(put('a.gguf', gguf), join(folder, 'link.gguf')), join(folder, 'link.gguf')), 'UNSAFE_FILE'],
    ['a folder with a link in it', () => (put('a.gguf', gguf), symlinkSync('/etc/passwd', join(folder, 'README.md')), folder), 'UNSAFE_FILE'],
    ['a device', () => '/dev/null', 'UNSAFE_FILE'],
    ['nothing', () => join(folder, 'nothing.gguf'), 'FILE_NOT_FOUND'],
    ['a path that depends on where the service was started', () => 'models/a.gguf', 'VALIDATION_FAILED'],
    ["the service's own folder", () => (mkdirSync(world.room.config.dataDir, { recursive: true }), join(world.room.config.dataDir, '..')), 'VALIDATION_FAILED'],
    ['a pickle', () => put('pytorch_model.bin', 'x'), 'UNSUPPORTED_MODEL'],
    ['a text', () => put('passwd', 'root:x:0:0'), 'UNSUPPORTED_MODEL'],
    ['half a split model', () => (put('m-00001-of-00002.gguf', gguf), folder), 'UNSUPPORTED_MODEL'],
    ['a cut file', () => put('cut.gguf', gguf.subarray(0, -1)), 'UNSAFE_FILE'],
    ['a program under the name of a model', () => put('evil.safetensors', Buffer.from('7f454c4602010100', 'hex')), 'UNSAFE_FILE'],
  ])('refuses %s and leaves nothing behind', async (_what, make, code) => {
    const path = make();
    await expect(take(path)).rejects.toMatchObject({ code });
    expect(leftOver()).toEqual([]);
    expect(await world.room.installed.list({ limit: 10 })).toMatchObject({ items: [] });
  });

  it('is for administrators, who may also set the rules aside', async () => {
    const path = put('pytorch_model.bin', 'cos\nsystem\n(S\'x\'\ntR.');
    await expect(take(path, {}, operator)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await expect(take(path, { override: ['unsafe_format'] })).rejects.toMatchObject({ code: 'UNSAFE_FILE', details: { rule: 'pickle.global' } });
    const [model] = await take(path, { override: ['unsafe_format', 'scan'] });
    expect(model?.files[0]?.scan).toMatchObject({ verdict: 'BLOCKED', findings: [{ rule: 'pickle.global' }] });
  });

  it('never changes what it was given', async () => {
    const path = put('a.gguf', gguf);
    linkSync(path, join(folder, 'b.gguf'));
    await take(folder);
    expect(readFileSync(path).equals(gguf)).toBe(true);
    expect(readdirSync(folder).sort()).toEqual(['a.gguf', 'b.gguf']);
  });
});
