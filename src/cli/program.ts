import { Command, CommanderError, Option } from 'commander';
import { nearestName } from '../infrastructure/config/nearest.ts';
import type { StopSignals } from '../infrastructure/lifecycle/signals.ts';
import { toTerminalText } from '../infrastructure/logging/safe-text.ts';
import { StopReason } from '../shared/abort.ts';
import { sharedOptions, type CommandSpec } from './command-spec.ts';
import { completionScript, shells } from './completion.ts';
import type { CommandContext, Handler } from './context.ts';
import { exitCodeOf, exitCodes, failureLine, wrongUsage } from './failure.ts';
import { isSet, type Flags } from './flags.ts';
import { Interrupts } from './interrupts.ts';
import { Output } from './output.ts';
import { deploymentSpecs } from './specs/deployments.ts';
import { modelSpecs } from './specs/models.ts';
import { serviceSpecs } from './specs/service.ts';
import { version } from './version.ts';

type OnExit = (code: number) => void;

function explain(error: unknown, { output, flags }: { output: Output; flags: Flags }): void {
  output.note(failureLine(error));
  if (!isSet(flags, 'verbose')) return;
  for (let cause = error; cause instanceof Error; cause = cause.cause) output.note(cause.stack ?? cause.message);
}

/** Carries out one command: what it throws becomes a line and an exit code. */
async function carryOut(load: () => Promise<Handler>, args: readonly string[], flags: Flags): Promise<number> {
  const { env, stdin, stdout, stderr } = process;
  const output = new Output({ json: isSet(flags, 'json'), stdout, stderr, env });
  const interrupts = new Interrupts(() => process.exit(exitCodes.interrupted));
  const letGo = interrupts.listen();
  // Whoever read the output has gone, as `head` does: there is nothing left to say.
  const reader = { hasGone: false };
  stdout.on('error', () => {
    reader.hasGone = true;
    interrupts.end();
  });
  const { signal } = interrupts;
  const surroundings = { flags, env, cwd: process.cwd() };
  const connect: CommandContext['connect'] = async () => await (await import('./connect.ts')).connectToService(surroundings);
  let code: number;
  try {
    const handler = await load();
    code = (await handler({ ...surroundings, output, interrupts, signal, stdin, connect }, args)) ?? exitCodes.done;
    signal.throwIfAborted();
  } catch (error) {
    const reason = signal.aborted ? new StopReason('cancelled') : error;
    if (!reader.hasGone) explain(reason, { output, flags });
    code = exitCodeOf(reason);
  } finally {
    letGo();
  }
  if (reader.hasGone) return exitCodes.done;
  await output.flush();
  return code;
}

function addCommand(program: Command, spec: CommandSpec, onExit: OnExit): void {
  const words = spec.usage.split(' ');
  const parent = program.commands.find((command) => command.name() === words[0]);
  const command = (parent ?? program).command((parent ? words.slice(1) : words).join(' ')).description(spec.description);
  for (const [flags, description] of spec.options ?? []) command.option(flags, description);
  command.addHelpText('after', `\nExamples:\n${spec.examples.map((example) => `  ${example}`).join('\n')}`);
  // `keys creat` means a command below `keys`, not an argument of it.
  parent?.allowExcessArguments(true);
  command.action(async () => {
    refuseUnknownPart(command);
    onExit(await carryOut(spec.load, command.args, command.optsWithGlobals<Flags>()));
  });
}

function refuseUnknownPart(command: Command): void {
  const excess = command.args[command.registeredArguments.length];
  if (command.commands.length === 0 || excess === undefined) return;
  const nearest = nearestName(excess, command.commands.map((part) => part.name()));
  command.error(`error: unknown command '${command.name()} ${excess}'${nearest === null ? '' : `\n(Did you mean ${command.name()} ${nearest}?)`}`);
}

function addServe(program: Command, onExit: OnExit, signals: StopSignals | null): void {
  const command = program
    .command('serve')
    .description('the service in the foreground')
    .option('--host <address>', 'address to listen on')
    .option('--port <port>', 'port to listen on; 0 = any free one')
    .addOption(new Option('--ends-with-parent', 'end when the channel to the parent process closes').hideHelp())
    .addHelpText('after', '\nExamples:\n  llm-manager serve\n  llm-manager serve --port 0 --data-dir ./data');
  // Everything that the service consists of is loaded here and nowhere else.
  command.action(async () => onExit(await (await import('./serve.ts')).serve(command.optsWithGlobals<Flags>(), signals)));
}

function addCompletion(program: Command, onExit: OnExit): void {
  addCommand(
    program,
    {
      usage: 'completion <shell>',
      description: 'a script for bash, zsh or fish that completes commands and options',
      examples: ['source <(llm-manager completion bash)', 'llm-manager completion fish > ~/.config/fish/completions/llm-manager.fish'],
      load: () => Promise.resolve(async ({ output }, [name]) => {
        const shell = shells.find((known) => known === name);
        if (!shell) throw wrongUsage(`There is no completion for ${name ?? ''}; there is one for ${shells.join(', ')}.`);
        const script = completionScript(program, shell);
        output.data({ shell, script });
        output.piece(script);
        await Promise.resolve(undefined);
      }),
    },
    onExit,
  );
}

/** The whole command line; `onExit` gets the exit code of the command that was given. */
export function buildProgram(onExit: OnExit, signals: StopSignals | null = null, isJson = false): Command {
  const program = new Command('llm-manager')
    .description('Finds, downloads, runs and talks to large language models on your own machines.')
    .version(isJson ? JSON.stringify({ name: 'llm-manager', version }) : `llm-manager ${version}`, '--version')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ outputError: (text, write) => write(`llm-manager: VALIDATION_FAILED: ${toTerminalText(text).replace(/^error: /, '').trim().replaceAll(/\s*\n\s*/g, ' ')}\n`) })
    .exitOverride();
  for (const [flags, description] of sharedOptions) program.option(flags, description);
  addServe(program, onExit, signals);
  for (const spec of [...deploymentSpecs.slice(0, 1), ...modelSpecs, ...deploymentSpecs.slice(1), ...serviceSpecs]) addCommand(program, spec, onExit);
  addCompletion(program, onExit);
  return program;
}

/** Runs the command line and answers the exit code of the process; `signals` is for the service. */
export async function runProgram(argv: readonly string[], signals: StopSignals | null = null): Promise<number> {
  let code: number = exitCodes.done;
  try {
    await buildProgram((given) => (code = given), signals, argv.includes('--json')).parseAsync([...argv]);
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // Help and version end here too, with 0.
    return error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
  }
  return code;
}
