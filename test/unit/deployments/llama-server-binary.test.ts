import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { embeddedEngines } from '../../../src/domains/deployments/runtimes/llama-cpp/embedded-variants.ts';
import { probeLlamaCpp } from '../../../src/domains/deployments/runtimes/llama-cpp/engines.ts';
import { VariantTrials } from '../../../src/domains/deployments/runtimes/llama-cpp/variant-trials.ts';
import { builtLlamaServer, LlamaServerFinder, readVersion } from '../../../src/domains/deployments/runtimes/llama-cpp/llama-server/binary.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'llmm-binary-'));
});
afterEach(() => rm(folder, { recursive: true }));

async function program(path: string, version: string, exitCode = 0): Promise<string> {
  await mkdir(dirname(path), { recursive: true });
  // llama-server tells its version on stderr.
  await writeFile(path, `#!/bin/sh\necho '${version}' >&2\nexit ${exitCode}\n`);
  await chmod(path, 0o755);
  return path;
}

const inPath = (name: string): string => join(folder, name, 'llama-server');
const enginesDir = (): string => join(folder, 'engines');
const search = (...names: string[]): LlamaServerFinder =>
  new LlamaServerFinder({ kind: 'search' }, enginesDir(), names.map((name) => dirname(inPath(name))).join(delimiter));

describe('the search for llama-server', () => {
  it('takes the one that was built here before one in PATH', async () => {
    await program(inPath('a'), 'version: 0.4.9 (build 1, commit a)');
    expect(await search('a').find()).toEqual({ binary: { path: inPath('a'), version: '0.4.9' }, fault: null });
    const built = await program(builtLlamaServer(enginesDir()), 'version: 0.5.0 (build 1, commit b)');
    expect(await search('a').find()).toEqual({ binary: { path: built, version: '0.5.0' }, fault: null });
  });

  it('finds one that comes while the service runs, and misses one that goes', async () => {
    const finder = search('a');
    expect(await finder.find()).toMatchObject({ binary: null });
    await program(inPath('a'), 'version: 0.5.0 (build 1, commit a)');
    expect(await finder.find()).toMatchObject({ binary: { path: inPath('a') } });
    await rm(inPath('a'));
    expect(await finder.find()).toMatchObject({ binary: null });
  });

  it('goes on where one is too old, cannot be run or is another program', async () => {
    await program(inPath('old'), 'version: 4200 (abcdef)');
    await program(inPath('broken'), 'version: 0.5.0 (build 1, commit a)', 127);
    await program(inPath('other'), 'nginx 1.0');
    expect(await search('old').find()).toMatchObject({ binary: null, version: 'b4200', fault: expect.stringContaining('too old') });
    expect(await search('broken').find()).toMatchObject({ binary: null, fault: expect.stringContaining('cannot be run') });
    expect(await search('other').find()).toMatchObject({ binary: null, fault: expect.stringContaining("not llama.cpp's server") });
    await program(inPath('good'), 'version: 6000 (abcdef)');
    expect(await search('old', 'broken', 'other', 'good').find()).toMatchObject({ binary: { version: 'b6000' } });
  });

  it('looks nowhere when it is off, and nowhere else when a path is set', async () => {
    await program(inPath('a'), 'version: 0.5.0 (build 1, commit a)');
    const off = new LlamaServerFinder({ kind: 'off' }, enginesDir(), dirname(inPath('a')));
    const missing = new LlamaServerFinder({ kind: 'path', path: join(folder, 'none') }, enginesDir(), dirname(inPath('a')));
    expect(await off.find()).toMatchObject({ binary: null });
    expect(await missing.find()).toMatchObject({ binary: null, fault: expect.stringContaining('not there') });
  });

  it('never looks in the folder that the service happens to stand in', async () => {
    const finder = new LlamaServerFinder({ kind: 'search' }, enginesDir(), `.${delimiter}${delimiter}bin`);
    expect(await finder.find()).toMatchObject({ binary: null, path: null });
  });
});

describe('the version of llama-server', () => {
  it('is read in the words of releases and of numbered builds', () => {
    expect(readVersion('version: 0.5.0 (build 7, commit abc)\nbuilt with cc')).toEqual({ text: '0.5.0', build: null });
    expect(readVersion('ggml_cuda_init: found 1\nversion: 5921 (abc)')).toEqual({ text: 'b5921', build: 5921 });
    expect(readVersion('usage: something')).toBeNull();
  });
});

describe('the engines of llama.cpp', () => {
  const trials = new VariantTrials();

  it('are one in use, with the version, and for each that is missing a reason', async () => {
    const { engines, available, version } = await probeLlamaCpp(search(), trials);
    expect(available).toBe(true);
    expect(engines.filter((engine) => engine.inUse)).toEqual([expect.objectContaining({ available: true, version })]);
    expect(engines.map(({ id }) => id)).toEqual(expect.arrayContaining(['llama-server', 'embedded-cpu']));
    for (const engine of engines) if (!engine.available) expect(engine.detail).toMatch(/\.$/);
    expect(engines[0]).toMatchObject({ id: 'llama-server', available: false, remedy: expect.stringContaining('engines build') });
  });

  it('prefer llama-server to the embedded build, and nothing to a path that the operator has set', async () => {
    await program(inPath('a'), 'version: 0.5.0 (build 1, commit a)');
    const found = await probeLlamaCpp(search('a'), trials);
    expect(found.engines.filter((engine) => engine.inUse).map(({ id }) => id)).toEqual(['llama-server']);
    expect(found).toMatchObject({ available: true, version: '0.5.0' });
    const forced = await probeLlamaCpp(new LlamaServerFinder({ kind: 'path', path: join(folder, 'none') }, enginesDir()), trials);
    expect(forced).toMatchObject({ available: false, detail: expect.stringContaining('not there') });
    expect(forced.engines.some((engine) => engine.inUse)).toBe(false);
  });

  it('tell the version of the library and of the llama.cpp in it', async () => {
    expect((await embeddedEngines(trials)).find(({ id }) => id === 'embedded-cpu')?.version).toMatch(/^\d+\.\d+\.\d+ \(llama\.cpp v\d/);
  });
});
