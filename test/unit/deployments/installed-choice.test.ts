import { describe, expect, it } from '@jest/globals';
import { chooseInstalled, ggufFilesOf } from '../../../src/domains/deployments/installed-choice.ts';
import { installedTiny } from '../../support/installed-tiny.ts';

const file = (path: string, sizeBytes = 10) => ({ path, sizeBytes, sha256: null, gitSha1: null });

describe('the file that an engine is given', () => {
  it('is the first part of a split model, with the bytes of all parts', () => {
    const files = [file('big-00002-of-00003.gguf', 2), file('big-00001-of-00003.gguf', 1), file('big-00003-of-00003.gguf', 3), file('README.md', 99)];
    expect(ggufFilesOf(installedTiny('/models', { files }))).toEqual({ path: '/models/big-00001-of-00003.gguf', bytes: 6, parts: null });
  });

  it('is never the projector of a vision model', () => {
    const files = [file('mmproj-model-f16.gguf', 5), file('sub/model.gguf', 7)];
    expect(ggufFilesOf(installedTiny('/models', { files }))).toEqual({ path: '/models/sub/model.gguf', bytes: 7, parts: null });
  });

  it('is refused where there is none, or where it would lie outside the folder', () => {
    expect(() => ggufFilesOf(installedTiny('/models', { files: [file('model.safetensors')] }))).toThrow(expect.objectContaining({ code: 'UNSUPPORTED_MODEL' }));
    expect(() => ggufFilesOf(installedTiny('/models', { files: [file('big-00002-of-00003.gguf')] }))).toThrow(expect.objectContaining({ code: 'UNSUPPORTED_MODEL' }));
    for (const path of ['../x.gguf', '/etc/x.gguf', 'a/../../x.gguf']) {
      expect(() => ggufFilesOf(installedTiny('/models', { files: [file(path)] }))).toThrow(expect.objectContaining({ code: 'UNSAFE_FILE' }));
    }
  });
});

it('chooses the largest that fits comfortably, else the smallest', () => {
  const models = [1, 6, 8, 20].map((size) => installedTiny('/models', { id: `m${size}`, variant: `v${size}`, sizeBytes: size }));
  const wanted = { modelId: models[0]!.modelId };
  expect(chooseInstalled(models, wanted, 10).id).toBe('m6');
  expect(chooseInstalled(models, wanted, 0).id).toBe('m1');
  expect(chooseInstalled(models, { ...wanted, variant: 'V20' }, 0).id).toBe('m20');
});
