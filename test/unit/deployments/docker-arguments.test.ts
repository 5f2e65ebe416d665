import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { argumentFaults } from '../../../src/domains/deployments/runtimes/extra-arguments.ts';
import { mountModel } from '../../../src/domains/deployments/runtimes/docker/mounted-model.ts';
import { allowedImages } from '../../../src/domains/deployments/runtimes/docker/image-templates.ts';

const allowed = new Set(['--batch-size', '--mlock']);
const fieldsOf = (args: readonly string[]): string[] => argumentFaults(args, allowed).map((fault) => fault.field);

describe('extra arguments of a container', () => {
  it('are options of the allow-list, alone, with a value in them or behind them', () => {
    expect(fieldsOf(['--mlock', '--batch-size', '512', '--batch-size=512'])).toEqual([]);
  });

  it('are refused where they are another option, a path, a second value or no option at all', () => {
    expect(fieldsOf(['--host', '0.0.0.0'])).toEqual(['config.extra_args.0']);
    expect(fieldsOf(['512'])).toEqual(['config.extra_args.0']);
    expect(fieldsOf(['--batch-size', '512', '/etc/passwd'])).toEqual(['config.extra_args.2']);
    expect(fieldsOf(['--batch-size', '../x'])).toEqual(['config.extra_args.1']);
    expect(fieldsOf(['--batch-size=/etc/passwd'])).toEqual(['config.extra_args.0']);
    expect(fieldsOf(['--batch-size', '$(id)'])).toEqual(['config.extra_args.1']);
    expect(fieldsOf(['-m', 'x'])).toEqual(['config.extra_args.0']);
  });
});

describe('the kind of an image', () => {
  const kindsOf = (entries: readonly string[] | null): [string, string | null][] => [...allowedImages(entries)].map(([image, template]) => [image, template?.id ?? null]);

  it('is told by the name of its repository, not by its tag', () => {
    for (const [, kind] of kindsOf(null)) expect(kind).not.toBeNull();
    expect(kindsOf(['registry.example:5000/team/llama.cpp@sha256:abc', 'alpine:vllm'])).toEqual([['registry.example:5000/team/llama.cpp@sha256:abc', 'llama.cpp'], ['alpine:vllm', null]]);
  });

  it("is what the operator says of an image of the operator's own", () => {
    expect(kindsOf(['llama.cpp=registry.example:5000/team/server:2', 'vllm=team/llama.cpp:1', 'other=team/x'])).toEqual([
      ['registry.example:5000/team/server:2', 'llama.cpp'], ['team/llama.cpp:1', 'vllm'], ['team/x', null],
    ]);
    expect(kindsOf(['ghcr.io/huggingface/text-generation-inference:3.3', 'team/tgi-cpu:1', 'tgi=team/y', 'ollama/ollama:rocm', 'team/nottgi:1']).map(([, kind]) => kind)).toEqual(['tgi', 'tgi', 'tgi', 'ollama', null]);
  });
});

describe('a model in a container', () => {
  it('is there under its own names, all parts of it and nothing else, wherever the links of its store lead', async () => {
    const folder = await realpath(await mkdtemp(path.join(tmpdir(), 'llmm-mounts-')));
    await Promise.all(['blobs', 'names'].map((name) => mkdir(path.join(folder, name))));
    const names = ['big-00001-of-00002.gguf', 'big-00002-of-00002.gguf', 'other-00001-of-00002.gguf', 'one.gguf'];
    for (const name of names) {
      await writeFile(path.join(folder, 'blobs', `sha256-${name}`), '');
      await symlink(`../blobs/sha256-${name}`, path.join(folder, 'names', name));
    }
    const seen = (...wanted: string[]): unknown => expect.arrayContaining(wanted.map((name) => ({ source: path.join(folder, 'blobs', `sha256-${name}`), target: `/models/${name}` })));
    const split = await mountModel(path.join(folder, 'names', 'big-00001-of-00002.gguf'));
    expect(split).toEqual({ files: seen('big-00001-of-00002.gguf', 'big-00002-of-00002.gguf'), inside: '/models/big-00001-of-00002.gguf' });
    expect(split.files).toHaveLength(2);
    const single = await mountModel(path.join(folder, 'names', 'one.gguf'));
    expect([single.inside, single.files.length, single.files]).toEqual(['/models/one.gguf', 1, seen('one.gguf')]);
    await rm(folder, { recursive: true });
  });
});
