import type { Handler } from './context.ts';

/** One command as people see it; its code is loaded only when it is used. */
export type CommandSpec = {
  /** Name and arguments, such as `pull <model>`; of a command below another one both names. */
  usage: string;
  description: string;
  /** Flags and description; a flag of several values is marked by `...`. */
  options?: readonly (readonly [flags: string, description: string])[];
  examples: readonly string[];
  load: () => Promise<Handler>;
};

export const sharedOptions: readonly (readonly [flags: string, description: string])[] = [
  ['--json', 'JSON only on standard output: one document, or one line an event where it streams'],
  ['--url <address>', 'the service (else LLM_MANAGER_URL, else the one on the data folder)'],
  ['--key <key>', 'the API key (else LLM_MANAGER_API_KEY, else admin.key of the data folder)'],
  ['--data-dir <folder>', 'where everything is kept'],
  ['--config <file>', 'YAML file with settings'],
  ['--verbose', 'the stack of a failure, too'],
];
