import type { CommandSpec } from '../command-spec.ts';

const variant = ['--variant <name>', 'the variant (quantisation); default: the one recommended for this machine'] as const;

/** Models and downloads. */
export const modelSpecs: readonly CommandSpec[] = [
  {
    usage: 'search <text...>',
    description: 'find models in all sources at once',
    options: [
      ['--source <name>', 'only this one: huggingface or ollama'],
      ['--category <name>', 'only this category'],
      ['--format <format>', 'only this format: gguf, safetensors, ...'],
      ['--sort <order>', 'relevance, downloads, likes, updated, created, trending, name or size'],
      ['--limit <number>', 'at most so many (20)'],
    ],
    examples: ['llm-manager search smollm2 --format gguf', 'llm-manager search qwen --source ollama --json'],
    load: async () => (await import('../commands/models.ts')).search,
  },
  {
    usage: 'info <model>',
    description: 'one model in full, with its variants and whether they fit here',
    examples: ['llm-manager info HuggingFaceTB/SmolLM2-135M-Instruct-GGUF', 'llm-manager info ollama:qwen3:0.6b'],
    load: async () => (await import('../commands/models.ts')).info,
  },
  {
    usage: 'pull <model>',
    description: 'download a model, and wait until it is here',
    options: [
      variant,
      ['--include <pattern...>', 'only files that match'],
      ['--exclude <pattern...>', 'no files that match'],
      ['--revision <name>', 'branch, tag or commit'],
      ['--target <place>', 'local, or ollama (its own store)'],
      ['--priority <number>', 'higher goes first, -100 to 100'],
      ['--max-bytes-per-second <number>', 'limit of speed'],
      ['--override <rule...>', 'set a rule aside: unsafe_format, scan (ADMIN only)'],
      ['--no-wait', 'put it into the queue and end'],
    ],
    examples: ['llm-manager pull HuggingFaceTB/SmolLM2-135M-Instruct-GGUF', 'llm-manager pull org/model --variant Q4_K_M --no-wait'],
    load: async () => (await import('../commands/downloads.ts')).pull,
  },
  {
    usage: 'ls',
    description: 'the models on this disk',
    examples: ['llm-manager ls', 'llm-manager ls --json'],
    load: async () => (await import('../commands/models.ts')).ls,
  },
  {
    usage: 'rm <model>',
    description: 'remove a model, all of its variants or one, from this disk',
    options: [['--variant <name>', 'only this one']],
    examples: ['llm-manager rm HuggingFaceTB/SmolLM2-135M-Instruct-GGUF', 'llm-manager rm org/model --variant Q8_0'],
    load: async () => (await import('../commands/models.ts')).rm,
  },
  {
    usage: 'verify <model>',
    description: 'read the files of a model again and compare them with their digests; 1 when there is damage',
    options: [['--variant <name>', 'only this one'], ['--repair', 'fetch again what is damaged, and wait until it is here']],
    examples: ['llm-manager verify HuggingFaceTB/SmolLM2-135M-Instruct-GGUF', 'llm-manager verify org/model --variant Q4_K_M --repair'],
    load: async () => (await import('../commands/models.ts')).verify,
  },
  {
    usage: 'import <path>',
    description: 'take a file or folder on the machine of the service in as a model (ADMIN only)',
    options: [['--name <name>', 'the model becomes local:<name>; default: the name of the file or folder'], ['--override <rule...>', 'set a rule aside: unsafe_format, scan']],
    examples: ['llm-manager import ~/models/mistral-7b.Q4_K_M.gguf', 'llm-manager import ./my-model --name my-model'],
    load: async () => (await import('../commands/models.ts')).importFiles,
  },
  {
    usage: 'adopt [model]',
    description: 'count models that other tools have put into the shared Hugging Face cache as installed: all, or one; each start does so too',
    examples: ['llm-manager adopt', 'llm-manager adopt HuggingFaceTB/SmolLM2-135M-Instruct-GGUF --json'],
    load: async () => (await import('../commands/models.ts')).adopt,
  },
  {
    usage: 'downloads',
    description: 'the queue, and what was in it',
    options: [['--status <status>', 'only those: queued, running, paused, ...'], ['--limit <number>', 'at most so many (20)']],
    examples: ['llm-manager downloads --status running'],
    load: async () => (await import('../commands/downloads.ts')).downloads,
  },
  { usage: 'pause <task>', description: 'hold a download', examples: ['llm-manager pause <task>'], load: async () => (await import('../commands/downloads.ts')).pause },
  { usage: 'resume <task>', description: 'go on with a download', examples: ['llm-manager resume <task>'], load: async () => (await import('../commands/downloads.ts')).resume },
  { usage: 'cancel <task>', description: 'end a download and remove what is there of it, or end work on stored models', examples: ['llm-manager cancel <task>'], load: async () => (await import('../commands/downloads.ts')).cancel },
];
