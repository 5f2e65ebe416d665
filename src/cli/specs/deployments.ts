import type { CommandSpec } from '../command-spec.ts';

const engineOptions = [
  ['--context <tokens>', 'context of each answer'],
  ['--threads <number>', 'processor threads'],
  ['--gpu-layers <number>', 'layers on the graphics card; -1 is all'],
  ['--parallel <number>', 'answers at once'],
] as const;

const chatOptions = [
  ['--system <text>', 'instructions for the model'],
  ['--temperature <number>', 'how daring, 0 to 2'],
  ['--max-tokens <number>', 'longest answer'],
  ['--seed <number>', 'the same seed and input give the same answer'],
] as const;

const noWait = ['--no-wait', 'do not wait until it is done'] as const;

/** Deployments and chat. */
export const deploymentSpecs: readonly CommandSpec[] = [
  {
    usage: 'run <model> [prompt...]',
    description: 'find, download, deploy and chat in one go; with a prompt (or standard input that is no terminal) answer once and end',
    options: [['--variant <name>', 'the variant (quantisation); default: the one recommended for this machine'], ...engineOptions, ...chatOptions],
    examples: ['llm-manager run HuggingFaceTB/SmolLM2-135M-Instruct-GGUF', 'llm-manager run org/model "Why is the sky blue?"', 'llm-manager run org/model --variant Q8_0 < question.txt > answer.txt'],
    load: async () => (await import('../commands/run.ts')).run,
  },
  {
    usage: 'start [model]',
    description: 'run an installed model, or a stopped deployment of this name again',
    options: [
      ['--name <name>', 'name of the deployment; default: made from the name of the model'],
      ['--variant <name>', 'the variant; default: the recommended one of those installed'],
      ['--runtime <name>', 'llama-cpp, remote, ...'],
      ...engineOptions,
      ['--base-url <address>', 'the server, for the runtime remote'],
      ['--remote-model <name>', "the model's name at that server"],
      ['--override-fit', 'even if it does not fit (ADMIN only)'],
      noWait,
    ],
    examples: ['llm-manager start HuggingFaceTB/SmolLM2-135M-Instruct-GGUF --name smol', 'llm-manager start smol', 'llm-manager start --runtime remote --base-url http://127.0.0.1:8000/v1 --name other'],
    load: async () => (await import('../commands/deployments.ts')).start,
  },
  { usage: 'ps', description: 'the deployments, and what they use', examples: ['llm-manager ps'], load: async () => (await import('../commands/deployments.ts')).ps },
  {
    usage: 'stop <name>',
    description: 'stop a deployment; answers that are being written are finished first',
    options: [['--rm', 'remove it, too'], noWait],
    examples: ['llm-manager stop smol', 'llm-manager stop smol --rm'],
    load: async () => (await import('../commands/deployments.ts')).stop,
  },
  { usage: 'restart <name>', description: 'stop and start a deployment', options: [noWait], examples: ['llm-manager restart smol'], load: async () => (await import('../commands/deployments.ts')).restart },
  {
    usage: 'logs <name>',
    description: 'what the engine of a deployment wrote',
    options: [['-f, --follow', 'go on until Ctrl-C'], ['--tail <lines>', 'the last so many (100)'], ['--level <level>', 'only from this on: debug, info, warn, error'], ['--grep <text>', 'only lines with this text']],
    examples: ['llm-manager logs smol -f', 'llm-manager logs smol --level error --json'],
    load: async () => (await import('../commands/deployments.ts')).logs,
  },
  {
    usage: 'chat <name>',
    description: 'talk to a deployment; each line of a standard input that is no terminal is a message',
    options: [['--session <id>', 'go on with this conversation'], ...chatOptions],
    examples: ['llm-manager chat smol', 'printf "Hello\\nAnd in French?\\n" | llm-manager chat smol'],
    load: async () => (await import('../commands/chat.ts')).chat,
  },
  {
    usage: 'sessions [text...]',
    description: 'the conversations, or those with this text',
    options: [['--limit <number>', 'at most so many (20)']],
    examples: ['llm-manager sessions', 'llm-manager sessions holiday --json'],
    load: async () => (await import('../commands/chat.ts')).sessions,
  },
  {
    usage: 'export <session>',
    description: 'a conversation as a file',
    options: [['--format <format>', 'markdown (default), json, jsonl, html or text'], ['-o, --output <file>', 'where to; default: standard output']],
    examples: ['llm-manager export <session> -o talk.md', 'llm-manager export <session> --format json'],
    load: async () => (await import('../commands/chat.ts')).exportSession,
  },
  {
    usage: 'import-chats <file>',
    description: "conversations of a file: our own json export, Open WebUI's, or ChatGPT's conversations.json",
    examples: ['llm-manager import-chats conversations.json'],
    load: async () => (await import('../commands/import-chats.ts')).importChats,
  },
];
