import type { CommandSpec } from '../command-spec.ts';

const narrowOptions: NonNullable<CommandSpec['options']> = [
  ['--scope <scope...>', 'what to narrow it to, such as chat or downloads:read; default: all that its role has'],
  ['--deployment <name...>', 'the only deployments that it may see and use'],
  ['--requests-per-minute <number>', 'limit of requests; default: none'],
  ['--tokens-per-day <number>', 'limit of tokens from midnight to midnight UTC; default: none'],
];

/** The service itself. */
export const serviceSpecs: readonly CommandSpec[] = [
  { usage: 'keys', description: 'the API keys', examples: ['llm-manager keys', 'llm-manager keys create laptop --role operator'], load: async () => (await import('../commands/service.ts')).keys },
  {
    usage: 'keys create <name>',
    description: 'make an API key; it is shown once',
    options: [['--role <role>', 'admin, operator, user (default) or viewer'], ['--owner <name>', 'whom it belongs to; default: its name'], ['--expires <time>', 'when it stops working; default: never'], ...narrowOptions],
    examples: ['llm-manager keys create laptop --role operator', 'llm-manager keys create guest --expires 2030-01-31', 'llm-manager keys create app --scope chat --deployment small --requests-per-minute 60 --tokens-per-day 100000'],
    load: async () => (await import('../commands/service.ts')).createKey,
  },
  { usage: 'keys revoke <key>', description: 'end an API key at once', examples: ['llm-manager keys revoke <key>'], load: async () => (await import('../commands/service.ts')).revokeKey },
  { usage: 'keys rotate <key>', description: 'give an API key a new secret; what is not named stays as it is', options: narrowOptions, examples: ['llm-manager keys rotate <key>', 'llm-manager keys rotate <key> --tokens-per-day 50000'], load: async () => (await import('../commands/service.ts')).rotateKey },
  { usage: 'status', description: 'the service that runs, and its machine', examples: ['llm-manager status', 'llm-manager status --json'], load: async () => (await import('../commands/service.ts')).status },
  { usage: 'doctor', description: 'look for faults of this machine and its settings, and say what to do', examples: ['llm-manager doctor', 'llm-manager doctor --json'], load: async () => (await import('../commands/doctor.ts')).doctor },
  { usage: 'engines', description: 'what this machine can run models on, and how to get what is missing', examples: ['llm-manager engines', 'llm-manager engines --json'], load: async () => (await import('../commands/engines.ts')).engines },
  {
    usage: 'engines build <engine>',
    description: "compile llama.cpp's server for this machine; needs cmake and a C++ compiler, and takes some minutes",
    options: [['--jobs <number>', 'compilers at once; default: one a core'], ['--gpu <kind>', 'auto (default), none, cuda or vulkan']],
    examples: ['llm-manager engines build llama-server', 'llm-manager engines build llama-server --jobs 1 --gpu none'],
    load: async () => (await import('../commands/engines.ts')).buildEngine,
  },
  { usage: 'config', description: 'the effective settings, and where each comes from', examples: ['llm-manager config', 'LLM_MANAGER_PORT=8080 llm-manager config --json'], load: async () => (await import('../commands/config.ts')).config },
];
