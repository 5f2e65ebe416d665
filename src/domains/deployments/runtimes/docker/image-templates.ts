import { defaultParallel } from '../../../../shared/gguf/fit-policy.ts';
import type { DeploymentConfig } from '../../types.ts';
import { llamaServerArguments } from '../extra-arguments.ts';

/** What a container is started with, apart from how it is confined. */
export type ImageStart = { config: DeploymentConfig; name: string; /** Of the model's file in the container. */ modelFile: string; secret: string; contextSize: number };

/** How one kind of model server is run from its image. */
export type ImageTemplate = {
  id: string;
  name: string;
  /** Which images it is for, by the repository's name. */
  matches: RegExp;
  images: readonly string[];
  port: number;
  /** Processes and threads together. */
  pidsMax: number;
  sharedMemoryBytes: number;
  /** Programs that compile kernels while they run need to start what they have written. */
  isTmpExecutable: boolean;
  toArguments: (start: ImageStart) => string[];
  toEnvironment: (start: ImageStart) => Record<string, string>;
  extraArguments: ReadonlySet<string>;
};

const mebibyte = 1024 * 1024;

const llamaCpp: ImageTemplate = {
  id: 'llama.cpp',
  name: "llama.cpp's server",
  matches: /llama[._-]?cpp/i,
  images: ['ghcr.io/ggml-org/llama.cpp:server', 'ghcr.io/ggml-org/llama.cpp:server-cuda'],
  port: 8080,
  pidsMax: 512,
  sharedMemoryBytes: 64 * mebibyte,
  isTmpExecutable: false,
  toArguments: ({ config, name, modelFile, contextSize }) => {
    const parallel = config.parallel ?? defaultParallel;
    return [
      '--model', modelFile, '--alias', name, '--host', '0.0.0.0', '--port', '8080',
      // It divides its context among the slots.
      '--ctx-size', String(contextSize * parallel), '--parallel', String(parallel),
      ...(config.threads === undefined ? [] : ['--threads', String(config.threads)]),
      ...(config.gpuLayers === undefined ? [] : ['--n-gpu-layers', String(config.gpuLayers)]),
      '--jinja', '--slots', '--no-webui',
    ];
  },
  toEnvironment: ({ secret }) => ({ LLAMA_API_KEY: secret }),
  extraArguments: llamaServerArguments,
};

const vllm: ImageTemplate = {
  id: 'vllm',
  name: 'vLLM',
  matches: /vllm/i,
  images: ['vllm/vllm-openai:latest'],
  port: 8000,
  pidsMax: 4096,
  sharedMemoryBytes: 8192 * mebibyte,
  isTmpExecutable: true,
  toArguments: ({ config, name, modelFile, contextSize }) => [
    '--model', modelFile, '--served-model-name', name, '--host', '0.0.0.0', '--port', '8000', '--max-model-len', String(contextSize),
    '--max-num-seqs', String(config.parallel ?? defaultParallel),
  ],
  toEnvironment: ({ secret }) => ({ VLLM_API_KEY: secret, HF_HUB_OFFLINE: '1', VLLM_NO_USAGE_STATS: '1', HOME: '/tmp' }),
  extraArguments: new Set(['--dtype', '--gpu-memory-utilization', '--tensor-parallel-size', '--pipeline-parallel-size', '--quantization', '--enforce-eager', '--kv-cache-dtype', '--swap-space', '--enable-prefix-caching', '--seed']),
};

const templates = [llamaCpp, vllm] as const;

/** Names of the kinds that an operator may give an image. */
export const imageKinds: readonly string[] = templates.map(({ id }) => id);

/** Images that may be run, in order, each with how it is run; null where its kind is not known. */
export type AllowedImages = ReadonlyMap<string, ImageTemplate | null>;

const kindAndImage = /^([^=]+)=(.+)$/;

/** `entries`: an image each, or `kind=image` for one whose name does not tell its kind; null = those of the templates. */
export function allowedImages(entries: readonly string[] | null): AllowedImages {
  const named = entries ?? templates.flatMap((template) => template.images);
  return new Map(
    named.map((entry) => {
      const [, kind, image = entry] = kindAndImage.exec(entry) ?? [];
      const template = kind === undefined ? templateByName(image) : templates.find(({ id }) => id === kind);
      return [image, template ?? null];
    }),
  );
}

/** By the repository, host and tag left out. */
function templateByName(image: string): ImageTemplate | undefined {
  const repository = image.replace(/@sha256:.*$/, '').replace(/:[^/:]*$/, '');
  return templates.find((template) => template.matches.test(repository));
}
