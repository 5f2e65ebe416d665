import type { Command, Option } from 'commander';

export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

type Described = { name: string; description: string };
/** What may follow a command; `path` is its name, after that of the command that it is below; '' is the program itself. */
type Place = { path: string; words: readonly Described[]; options: readonly Described[] };
type Table = { places: readonly Place[]; paths: readonly string[]; valued: readonly string[] };

const help: Described = { name: '--help', description: 'what it does, with examples' };

/** Words that an argument may be. */
const choices: Readonly<Record<string, readonly Described[]>> = {
  completion: shells.map((name) => ({ name, description: 'the shell' })),
  'engines build': [{ name: 'llama-server', description: "llama.cpp's own server" }],
};

function optionsOf(options: readonly Option[]): Described[] {
  return options.filter(({ hidden }) => !hidden).map((option) => ({ name: option.long ?? option.short ?? '', description: option.description }));
}

const described = (command: Command): Described => ({ name: command.name(), description: command.description() });

function tableOf(program: Command): Table {
  const isVersion = (option: Option): boolean => option.long === '--version';
  const shared = program.options.filter((option) => !isVersion(option));
  const placesOf = (command: Command, path: string): Place[] => [
    { path, words: [...command.commands.map(described), ...(choices[path] ?? [])], options: [...optionsOf(command.options), ...optionsOf(shared), help] },
    ...command.commands.flatMap((child) => placesOf(child, `${path} ${child.name()}`)),
  ];
  const below = program.commands.flatMap((command) => placesOf(command, command.name()));
  const all = [...program.options, ...program.commands.flatMap((command) => [command, ...command.commands]).flatMap(({ options }) => options)];
  return {
    places: [{ path: '', words: program.commands.map(described), options: [...optionsOf(program.options), help] }, ...below],
    paths: below.map(({ path }) => path),
    // What follows these is their value, and no command.
    valued: [...new Set(all.filter(({ required, optional }) => required || optional).flatMap(({ long, short }) => [long, short].filter((name) => name !== undefined)))],
  };
}

const quoted = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`;
const pattern = (names: readonly string[]): string => names.map((name) => `"${name}"`).join('|');
const twoWords = ({ paths }: Table): string => pattern(paths.filter((path) => path.includes(' ')));

/** What bash and zsh have in common: which command the words so far are, and what is offered there. */
function judgeWords(table: Table, cases: readonly string[]): string {
  return `    case "$word" in
      ${pattern(table.valued)}) ((index++)) ;;
      -*) ;;
      *) if [[ -z "$place" ]]; then place="$word"; else case "$place $word" in ${twoWords(table)}) place="$place $word" ;; esac; fi ;;
    esac
  done
  case "$place" in
${cases.join('\n')}
  esac`;
}

function bash(table: Table): string {
  const cases = table.places.map(({ path, words, options }) => `    "${path}") words="${[...words, ...options].map(({ name }) => name).join(' ')}" ;;`);
  return `_llm_manager() {
  local current="\${COMP_WORDS[COMP_CWORD]}" place="" words="" index word
  for ((index = 1; index < COMP_CWORD; index++)); do
    word="\${COMP_WORDS[index]}"
${judgeWords(table, cases)}
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _llm_manager llm-manager
`;
}

function zsh(table: Table): string {
  const describe = (list: readonly Described[]): string => list.map(({ name, description }) => quoted(`${name}:${description.replaceAll(':', String.raw`\:`)}`)).join(' ');
  const cases = table.places.map(({ path, words, options }) => `    "${path}") names=(${describe(words)}); options=(${describe(options)}) ;;`);
  return `#compdef llm-manager
_llm_manager() {
  local -a names options
  local place="" word
  integer index
  for ((index = 2; index < CURRENT; index++)); do
    word="\${words[index]}"
${judgeWords(table, cases)}
  if [[ "\${words[CURRENT]}" == -* ]]; then
    _describe -o option options
  elif (( \${#names} )); then
    _describe command names
  else
    _files
  fi
}
compdef _llm_manager llm-manager
`;
}

function fish(table: Table): string {
  const lines = table.places.flatMap(({ path, words, options }) => {
    const complete = `complete -c llm-manager -n ${quoted(`__llm_manager_at "${path}"`)}`;
    return [
      // Files only where a command takes something else than those words.
      ...(words.length > 0 ? [`${complete} -f`] : []),
      ...words.map(({ name, description }) => `${complete} -a ${name} -d ${quoted(description)}`),
      ...options.map(({ name, description }) => `${complete} -l ${name.slice(2)} -d ${quoted(description)}`),
    ];
  });
  return `function __llm_manager_at
  set -l place ""
  set -l skip 0
  for word in (commandline -opc)[2..-1]
    if test $skip = 1
      set skip 0
      continue
    end
    switch $word
      case ${table.valued.map(quoted).join(' ')}
        set skip 1
      case '-*'
      case '*'
        if test -z "$place"
          set place $word
        else if contains -- "$place $word" ${table.paths.filter((path) => path.includes(' ')).map(quoted).join(' ')}
          set place "$place $word"
        end
    end
  end
  test "$place" = "$argv[1]"
end
${lines.join('\n')}
`;
}

/** What a shell has to be told so that Tab completes commands and options. */
export function completionScript(program: Command, shell: Shell): string {
  return { bash, zsh, fish }[shell](tableOf(program));
}
