import type { Command } from 'commander';

export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

type Described = { name: string; description: string };
type Entry = Described & { options: readonly Described[]; subcommands: readonly Described[] };

function entriesOf(program: Command): Entry[] {
  const optionsOf = (command: Command): Described[] => [...command.options.filter(({ hidden }) => !hidden), ...(command === program ? [] : program.options)].map((option) => ({ name: option.long ?? option.short ?? '', description: option.description }));
  return program.commands.map((command) => ({
    name: command.name(),
    description: command.description(),
    options: [...optionsOf(command), { name: '--help', description: 'what it does, with examples' }],
    subcommands: command.commands.map((child) => ({ name: child.name(), description: child.description() })),
  }));
}

const names = (list: readonly Described[]): string => list.map(({ name }) => name).join(' ');
const quoted = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`;

function bash(entries: readonly Entry[]): string {
  const cases = entries.map((entry) => `    ${entry.name}) words='${names([...entry.subcommands, ...entry.options])}' ;;`);
  return `_llm_manager() {
  local current="\${COMP_WORDS[COMP_CWORD]}" command="" words="" index
  for ((index = 1; index < COMP_CWORD; index++)); do
    if [[ "\${COMP_WORDS[index]}" != -* ]]; then command="\${COMP_WORDS[index]}"; break; fi
  done
  case "$command" in
    "") words='${names(entries)} --help --version' ;;
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _llm_manager llm-manager
`;
}

function zsh(entries: readonly Entry[]): string {
  const describe = (list: readonly Described[]): string => list.map(({ name, description }) => quoted(`${name}:${description.replaceAll(':', String.raw`\:`)}`)).join(' ');
  const cases = entries.map((entry) => `    ${entry.name}) words_of=(${describe([...entry.subcommands, ...entry.options])}) ;;`);
  return `#compdef llm-manager
_llm_manager() {
  local -a words_of
  if (( CURRENT == 2 )); then
    words_of=(${describe(entries)})
    _describe command words_of
    return
  fi
  case "$words[2]" in
${cases.join('\n')}
  esac
  _describe option words_of || _files
}
compdef _llm_manager llm-manager
`;
}

function fish(entries: readonly Entry[]): string {
  const lines = entries.flatMap((entry) => [
    `complete -c llm-manager -n __fish_use_subcommand -a ${entry.name} -d ${quoted(entry.description)}`,
    ...entry.subcommands.map((child) => `complete -c llm-manager -n '__fish_seen_subcommand_from ${entry.name}' -a ${child.name} -d ${quoted(child.description)}`),
    ...entry.options.map((option) => `complete -c llm-manager -n '__fish_seen_subcommand_from ${entry.name}' -l ${option.name.slice(2)} -d ${quoted(option.description)}`),
  ]);
  return `${lines.join('\n')}\n`;
}

/** What a shell has to be told so that Tab completes commands and options. */
export function completionScript(program: Command, shell: Shell): string {
  const entries = entriesOf(program);
  return { bash, zsh, fish }[shell](entries);
}
