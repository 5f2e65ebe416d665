import { describe, expect, it } from '@jest/globals';
import { argumentFaults } from '../../../src/domains/deployments/runtimes/docker/arguments.ts';
import { placeOfModel } from '../../../src/domains/deployments/runtimes/docker/container-options.ts';
import { templateImages, templateOf } from '../../../src/domains/deployments/runtimes/docker/image-templates.ts';

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
  it('is told by the name of its repository, not by its tag', () => {
    for (const image of templateImages) expect(templateOf(image)).toBeDefined();
    expect(templateOf('registry.example:5000/team/llama.cpp@sha256:abc')?.id).toBe('llama.cpp');
    expect(templateOf('alpine:vllm')).toBeUndefined();
  });
});

describe('the place of a model in a container', () => {
  it('is its folder, and for the shared cache the folder that its links stay in', () => {
    expect(placeOfModel('/data/models/tiny.gguf')).toEqual({ folder: '/data/models', fileInside: '/models/tiny.gguf' });
    expect(placeOfModel('/hub/models--org--name/snapshots/abc/sub/x.gguf')).toEqual({ folder: '/hub/models--org--name', fileInside: '/models/snapshots/abc/sub/x.gguf' });
  });
});
