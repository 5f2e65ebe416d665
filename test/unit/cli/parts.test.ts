import { execFile, spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { PassThrough } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { answersWhenAsked, isMeant, modelIdsMeant } from '../../../src/cli/lookup.ts';
import { exitCodeOf, failureLine, ServiceUnreachable, wrongUsage } from '../../../src/cli/failure.ts';
import { columns, duration } from '../../../src/cli/format.ts';
import { Interrupts } from '../../../src/cli/interrupts.ts';
import { Output } from '../../../src/cli/output.ts';
import { ProgressView, progressLine, type Task } from '../../../src/cli/progress.ts';
import { StopReason } from '../../../src/shared/abort.ts';
import { AppError } from '../../../src/shared/errors.ts';
import { buildProgram } from '../../../src/cli/program.ts';
import { completionScript, shells, type Shell } from '../../../src/cli/completion.ts';

const run = promisify(execFile);

type Screen = PassThrough & { isTTY: boolean; columns: number };

function screen(isTTY: boolean): Screen {
  return Object.assign(new PassThrough(), { isTTY, columns: 80 });
}

function outputOn({ isTTY = false, json = false, env = {} }: { isTTY?: boolean; json?: boolean; env?: Record<string, string> }): { output: Output; written: () => { stdout: string; stderr: string } } {
  const [stdout, stderr] = [screen(isTTY), screen(isTTY)];
  // A stream with what Output asks of a terminal.
  const output = new Output({ json, stdout: stdout as unknown as NodeJS.WriteStream, stderr: stderr as unknown as NodeJS.WriteStream, env });
  const text = (stream: Screen): string => (stream.read() as Buffer | null)?.toString('utf8') ?? '';
  return { output, written: () => ({ stdout: text(stdout), stderr: text(stderr) }) };
}

const task: Task = {
  taskId: '1', modelId: 'huggingface:a/b', revision: null, variant: 'F16', target: 'LOCAL', status: 'RUNNING', queuePosition: null, priority: 0, maxBytesPerSecond: null, override: [],
  totalBytes: 2_000_000, downloadedBytes: 500_000, progress: 0.25, speedBytesPerSecond: 100_000, etaSeconds: 15, attempt: 1, createdAt: '', startedAt: null, finishedAt: null, error: null, files: [],
};

describe('failures', () => {
  it.each(([
    [wrongUsage('x'), 2],
    [new ServiceUnreachable('x'), 3],
    [new AppError('NETWORK_FAILED', 'x'), 1],
    [new AppError('MODEL_NOT_FOUND', 'x'), 4],
    [new AppError('FORBIDDEN', 'x'), 5],
    [new AppError('MODEL_GATED', 'x'), 5],
    [new AppError('INSUFFICIENT_STORAGE', 'x'), 1],
    [new TypeError('x'), 1],
    [new StopReason('cancelled'), 130],
  ] as const).map(([error, code]) => ({ error, code, name: error instanceof AppError ? `${error.constructor.name} ${error.code}` : String(error) })))('have an exit code: $name', ({ error, code }) => {
    expect(exitCodeOf(error)).toBe(code);
  });

  it('are one harmless line, whatever a service says', () => {
    expect(failureLine(new AppError('MODEL_NOT_FOUND', 'one\n  two \u001B]0;title\u0007\u202E'))).toBe('llm-manager: MODEL_NOT_FOUND: one two \uFFFD');
  });
});

describe('output', () => {
  it('keeps standard output for JSON alone when that was asked for', () => {
    const { output, written } = outputOn({ json: true });
    output.line('text');
    output.piece('text');
    columns(output, ['A'], [['b']]);
    output.note('note');
    output.data({ a: 1 });
    expect(written()).toEqual({ stdout: '{"a":1}\n', stderr: 'note\n' });
  });

  it('gives a terminal nothing that it would obey, and a program the text as it is', () => {
    const [terminal, pipe] = [outputOn({ isTTY: true }), outputOn({})];
    for (const { output } of [terminal, pipe]) output.piece('a\u001B[2Jb\u0007');
    expect(terminal.written().stdout).toBe('ab\uFFFD');
    expect(pipe.written().stdout).toBe('a\u001B[2Jb\u0007');
  });

  it('lays out one row a line, however hostile its cells are', () => {
    const { output, written } = outputOn({});
    columns(output, ['NAME', 'SIZE'], [['a\nb\u001B[31m', '1'], ['longer', '22']]);
    expect(written().stdout).toBe('NAME    SIZE\na b     1\nlonger  22\n');
  });

  it.each([{ NO_COLOR: '1' }, { CI: 'true' }, { TERM: 'dumb' }])('has no colours under %p', (env) => {
    expect(outputOn({ isTTY: true, env }).output.style('bold', 'x')).toBe('x');
    expect(outputOn({ isTTY: true }).output.style('bold', 'x')).not.toBe('x');
  });
});

describe('progress', () => {
  it('says how far, how fast and how long', () => {
    expect(progressLine(task, { bar: true })).toBe('██████░░░░░░░░░░░░░░░░░░   25 %  500 kB of 2 MB  100 kB/s  15s left');
    expect(progressLine({ ...task, status: 'QUEUED', totalBytes: null, queuePosition: 2, etaSeconds: null }, { bar: false })).toBe('500 kB  queued  place 2');
    expect([duration(59.4), duration(61), duration(7_260)]).toEqual(['59s', '1m 1s', '2h 1m']);
  });

  it('writes a line for each tenth in a pipe, and draws over one line on a terminal', () => {
    const [pipe, terminal] = [outputOn({}), outputOn({ isTTY: true })];
    for (const { output } of [pipe, terminal]) {
      const view = new ProgressView(output);
      for (let percent = 0; percent <= 100; percent += 1) view.update({ ...task, progress: percent / 100 });
      view.end();
    }
    expect(pipe.written().stderr.trimEnd().split('\n')).toHaveLength(11);
    expect(terminal.written().stderr.match(/\n/g)).toHaveLength(1);
  });
});

describe('Ctrl-C', () => {
  it('stops what is being said first, then the program, and then ends at once', () => {
    const seen: string[] = [];
    const interrupts = new Interrupts(() => seen.push('gave up'));
    interrupts.stopFirst(() => seen.push('stopped'));
    interrupts.raise(0);
    expect({ seen: [...seen], ended: interrupts.signal.aborted }).toEqual({ seen: ['stopped'], ended: false });
    interrupts.raise(0);
    expect(interrupts.signal.aborted).toBe(true);
    interrupts.raise(0);
    expect(seen).toEqual(['stopped', 'gave up']);
  });

  it('counts once when it comes twice at the same moment', () => {
    const interrupts = new Interrupts(() => undefined);
    let stops = 0;
    interrupts.stopFirst(() => (stops += 1));
    interrupts.raise(60_000);
    interrupts.raise(60_000);
    expect({ stops, ended: interrupts.signal.aborted }).toEqual({ stops: 1, ended: false });
  });
});

describe('model names', () => {
  it('mean the stored id, with or without source, revision and the usual tag', () => {
    expect(isMeant('Org/Name@main', 'huggingface:org/name')).toBe(true);
    expect(isMeant('huggingface:org/name', 'huggingface:org/name')).toBe(true);
    expect(isMeant('qwen3:latest', 'ollama:qwen3')).toBe(true);
    expect(isMeant('qwen3:8b', 'ollama:qwen3')).toBe(false);
    expect(modelIdsMeant('ollama:team/x:1b')[0]).toBe('ollama:team/x:1b');
  });
});

describe('the command line', () => {
  const program = buildProgram(() => undefined);

  it('has every command of the contract, each with examples in its help', () => {
    const names = program.commands.map((command) => command.name());
    for (const name of ['serve', 'run', 'search', 'info', 'pull', 'ls', 'rm', 'verify', 'import', 'downloads', 'pause', 'resume', 'cancel', 'start', 'ps', 'stop', 'restart', 'logs', 'chat', 'sessions', 'export', 'keys', 'status', 'doctor', 'engines', 'config', 'completion']) expect(names).toContain(name);
    for (const command of program.commands) {
      let help = '';
      command.configureOutput({ writeOut: (text) => (help += text) }).outputHelp();
      expect(help).toMatch(/Examples:\n {2}(llm-manager|source|printf|LLM_MANAGER)/);
    }
  });

  it('stands in docs/cli.md with every command', async () => {
    const docs = await readFile(new URL('../../../docs/cli.md', import.meta.url), 'utf8');
    for (const command of program.commands) expect(docs).toMatch(new RegExp(`\\b${command.name()}\\b`));
  });

  it.each(shells)('completes every command in %s', (shell) => {
    const script = completionScript(program, shell);
    for (const command of program.commands) expect(script).toContain(command.name());
  });

  const ask: Record<Shell, (words: readonly string[]) => string[]> = {
    bash: (words) => ['-c', `${completionScript(program, 'bash')}\nCOMP_WORDS=(llm-manager ${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length}; _llm_manager; printf '%s\\n' "\${COMPREPLY[@]}"`],
    // What zsh's own functions would be given, by functions in their place that print it.
    zsh: (words) => ['-f', '-c', `compdef() {}; _files() { print files }; _describe() { local name; for name in "\${(@P)@[-1]}"; do [[ "$name" == "\${words[CURRENT]}"* ]] && print -r -- "\${name%%:*}"; done }
${completionScript(program, 'zsh')}\nwords=(llm-manager ${words.map((word) => `'${word}'`).join(' ')}); CURRENT=$#words; _llm_manager; true`],
    fish: (words) => ['-c', `${completionScript(program, 'fish')}\ncomplete -C 'llm-manager ${words.join(' ')}' | string split --fields 1 \\t`],
  };
  const isInstalled = (shell: Shell): boolean => spawnSync(shell, ['-c', 'true']).status === 0;
  const cases = shells.filter(isInstalled).flatMap((shell) => [
    [shell, ['re'], ['restart', 'resume']],
    [shell, ['pull', '--va'], ['--variant']],
    [shell, ['--json', 'keys', 'cr'], ['create']],
    [shell, ['keys', 'create', '--ro'], ['--role']],
    [shell, ['--url', 'keys', 'stop', '--no'], ['--no-wait']],
    [shell, ['completion', ''], ['bash', 'fish', 'zsh']],
    [shell, ['engines', 'build', ''], ['llama-server']],
  ] as const);

  it.each(cases)('completes in a real %s: %p', async (shell, words, expected) => {
    const { stdout } = await run(shell, ask[shell](words));
    expect(stdout.trim().split('\n').filter((word) => !word.startsWith('-') || words.at(-1)?.startsWith('-')).sort()).toEqual(expected);
  });
});

describe('a deployment', () => {
  it.each([
    ['RUNNING', 'RUNNING', true],
    ['STOPPED', 'RUNNING', true],
    ['STOPPED', 'STOPPED', false],
    ['FAILED', 'RUNNING', false],
  ] as const)('that is %s and meant to be %s can be talked to: %s', (status, desiredStatus, canBe) => {
    expect(answersWhenAsked({ status, desiredStatus })).toBe(canBe);
  });
});
