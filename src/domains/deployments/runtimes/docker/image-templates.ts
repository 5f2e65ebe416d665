import { defaultParallel } from '../../../../shared/gguf/fit-policy.ts';
import type { DeploymentConfig } from '../../types.ts';
import { llamaServerArguments } from '../extra-arguments.ts';

/** What a container is started with, apart from how it is confined. */
export type ImageStart = {
  config: DeploymentConfig;
  name: string;
  /** Of the model in the container: its file, or the folder of a model in safetensors. */
  modelFile: string;
  secret: string;
  contextSize: number;
};

/** How one kind of model server is run from its image. */
export type ImageTemplate = {
  id: string;
  name: string;
  /** Which images it is for, by the repository's name. */
  matches: RegExp;
  images: readonly string[];
  /** Formats that it loads. */
  formats: readonly string[];
  /** Settings that it has no use for. */
  refused: readonly ('gpuLayers' | 'threads')[];
  /** Where it answers 200 once it serves. */
  healthPath: string;
  /** `ollama`: the model is handed over and asked for by Ollama's own API, which knows no key. `tgi`: OpenAI's with other bounds. */
  protocol: 'openai' | 'ollama' | 'tgi';
  port: number;
  /** Processes and threads together. */
  pidsMax: number;
  sharedMemoryBytes: number;
  /** Programs that compile kernels while they run need to start what they have written. */
  isTmpExecutable: boolean;
  /** Its programs lie where only root may read. Without capabilities root reads no more than anybody may, and its own. */
  isRoot: boolean;
  /** A folder of the image that everybody may write to, for more than fits in memory: a volume that goes with the container. */
  storeFolder: string | null;
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
  formats: ['gguf'],
  refused: [],
  healthPath: '/health',
  protocol: 'openai',
  port: 8080,
  pidsMax: 512,
  sharedMemoryBytes: 64 * mebibyte,
  isTmpExecutable: false,
  isRoot: false,
  storeFolder: null,
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
  formats: ['safetensors', 'gguf'],
  refused: ['gpuLayers', 'threads'],
  healthPath: '/health',
  protocol: 'openai',
  port: 8000,
  pidsMax: 4096,
  sharedMemoryBytes: 8192 * mebibyte,
  isTmpExecutable: true,
  isRoot: false,
  storeFolder: null,
  toArguments: ({ config, name, modelFile, contextSize }) => [
    '--model', modelFile, '--served-model-name', name, '--host', '0.0.0.0', '--port', '8000', '--max-model-len', String(contextSize),
    '--max-num-seqs', String(config.parallel ?? defaultParallel),
  ],
  toEnvironment: ({ secret }) => ({ VLLM_API_KEY: secret, HF_HUB_OFFLINE: '1', VLLM_NO_USAGE_STATS: '1', HOME: '/tmp' }),
  extraArguments: new Set(['--dtype', '--gpu-memory-utilization', '--tensor-parallel-size', '--pipeline-parallel-size', '--quantization', '--enforce-eager', '--kv-cache-dtype', '--swap-space', '--enable-prefix-caching', '--seed']),
};

const tgi: ImageTemplate = {
  id: 'tgi',
  name: 'Text Generation Inference',
  matches: /text-generation-inference|(^|[/._-])tgi($|[._-])/i,
  images: ['ghcr.io/huggingface/text-generation-inference:latest'],
  formats: ['safetensors'],
  refused: ['gpuLayers', 'threads'],
  healthPath: '/health',
  protocol: 'tgi',
  // The image's own is 80, which not everybody may open.
  port: 8080,
  pidsMax: 4096,
  sharedMemoryBytes: 1024 * mebibyte,
  isTmpExecutable: true,
  // Its Python lies in root's home.
  isRoot: true,
  storeFolder: null,
  toArguments: ({ config, modelFile, contextSize }) => [
    '--model-id', modelFile, '--hostname', '0.0.0.0', '--port', '8080', '--max-total-tokens', String(contextSize), '--max-input-tokens', String(contextSize - 1),
    '--max-batch-size', String(config.parallel ?? defaultParallel), '--usage-stats', 'off',
  ],
  // Its own folder for the Hub's cache cannot be written to.
  toEnvironment: ({ secret }) => ({ API_KEY: secret, HF_HUB_OFFLINE: '1', HF_HOME: '/tmp/hub', HOME: '/tmp' }),
  extraArguments: new Set([
    '--dtype', '--quantize', '--kv-cache-dtype', '--num-shard', '--cuda-memory-fraction', '--max-concurrent-requests', '--max-batch-prefill-tokens', '--max-batch-total-tokens', '--max-waiting-tokens',
    '--waiting-served-ratio', '--cuda-graphs', '--rope-scaling', '--rope-factor', '--speculate', '--disable-custom-kernels', '--disable-grammar-support',
  ]),
};

const ollama: ImageTemplate = {
  id: 'ollama',
  name: 'Ollama',
  matches: /ollama/i,
  images: ['ollama/ollama:latest'],
  formats: ['gguf'],
  refused: [],
  healthPath: '/api/version',
  protocol: 'ollama',
  port: 11_434,
  pidsMax: 512,
  sharedMemoryBytes: 64 * mebibyte,
  isTmpExecutable: false,
  isRoot: false,
  storeFolder: '/var/tmp',
  toArguments: () => ['serve'],
  toEnvironment: ({ config }) => ({
    OLLAMA_HOST: '0.0.0.0:11434', OLLAMA_MODELS: '/var/tmp/ollama', HOME: '/tmp', OLLAMA_NUM_PARALLEL: String(config.parallel ?? defaultParallel), OLLAMA_KEEP_ALIVE: '-1',
  }),
  extraArguments: new Set(),
};

const templates: readonly ImageTemplate[] = [llamaCpp, vllm, tgi, ollama];

export const templateById = (id: string): ImageTemplate | undefined => templates.find((template) => template.id === id);

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
      const template = kind === undefined ? templateByName(image) : templateById(kind);
      return [image, template ?? null];
    }),
  );
}

/** By the repository, host and tag left out. */
function templateByName(image: string): ImageTemplate | undefined {
  const repository = image.replace(/@sha256:.*$/, '').replace(/:[^/:]*$/, '');
  return templates.find((template) => template.matches.test(repository));
}
