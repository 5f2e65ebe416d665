import { mkdtempSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';
import { FitChecker } from '../../../src/domains/deployments/fit.ts';
import { chooseInstalled, modelFilesOf } from '../../../src/domains/deployments/installed-choice.ts';
import { installedTiny } from '../../support/installed-tiny.ts';
import { safetensorsOf } from '../../support/safetensors.ts';

const gibibyte = 1024 ** 3;
const folder = mkdtempSync(join(tmpdir(), 'llmm-fit-'));
afterAll(() => rm(folder, { recursive: true }));

function write(name: string, bytes: Buffer | string): { path: string; sizeBytes: number; sha256: null; gitSha1: null } {
  writeFileSync(join(folder, name), bytes);
  return { path: name, sizeBytes: Buffer.byteLength(bytes), sha256: null, gitSha1: null };
}

const weights = { a: { dtype: 'F32', shape: [1000, 100] }, b: { dtype: 'BF16', shape: [50] } };
const parts = [write('model-00002-of-00002.safetensors', safetensorsOf(weights)), write('model-00001-of-00002.safetensors', safetensorsOf(weights))];
const copy = write('consolidated.safetensors', safetensorsOf(weights));
const config = write('config.json', JSON.stringify({ num_hidden_layers: 4, num_attention_heads: 8, num_key_value_heads: 2, hidden_size: 256, vocab_size: 1000, max_position_embeddings: 2048 }));
const whole = installedTiny(folder, { format: 'safetensors', quantization: null, variant: 'safetensors', files: [...parts, copy, config] });
const fits = (freeBytes: number): FitChecker => new FitChecker(() => Promise.resolve({ availableBytes: freeBytes, gpuFreeBytes: null }));

describe('the fit of an installed safetensors model', () => {
  it('counts the weights of all parts once, as they are loaded, and the conversation by config.json', async () => {
    const files = modelFilesOf(whole);
    expect(files).toMatchObject({ path: join(folder, 'model-00001-of-00002.safetensors'), bytes: parts[0]!.sizeBytes * 2 });
    const report = await fits(8 * gibibyte).report(files, { parallel: 3 });
    expect(report).toMatchObject({ verdict: 'fits', weightsBytes: 2 * 200_100, contextSize: 2048, kvCacheBytes: 3 * 2048 * 1024, maxContextSize: 2048 });
    expect(await fits(gibibyte).report(files, {})).toMatchObject({ verdict: 'does_not_fit', maxContextSize: null });
  });

  it('is told by the files as they are now, and refused where they are damaged or without a config.json', async () => {
    const files = modelFilesOf(whole);
    const checker = fits(8 * gibibyte);
    await checker.report(files, {});
    writeFileSync(join(folder, 'model-00002-of-00002.safetensors'), 'not weights at all');
    await expect(checker.report(files, {})).rejects.toMatchObject({ code: 'UNSUPPORTED_MODEL' });
    writeFileSync(join(folder, 'config.json'), '[]');
    await expect(checker.report(files, {})).rejects.toMatchObject({ code: 'UNSUPPORTED_MODEL', message: expect.stringContaining('config.json') });
  });
});

it('chooses among the installed variants those that the runtime can run, and says so where there is none', () => {
  const gguf = installedTiny(folder, { id: 'gguf', sizeBytes: 1 });
  const wanted = { modelId: gguf.modelId, runtimeName: 'Docker' };
  expect(chooseInstalled([gguf, whole], { ...wanted, formats: ['gguf'] }, 0).id).toBe('gguf');
  expect(chooseInstalled([gguf, whole], { ...wanted, formats: ['safetensors'] }, 0).id).toBe(whole.id);
  expect(() => chooseInstalled([whole], { ...wanted, formats: ['gguf'] }, 0)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED_MODEL', message: expect.stringContaining('gguf') }));
});
