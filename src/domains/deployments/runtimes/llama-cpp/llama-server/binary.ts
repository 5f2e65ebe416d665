import { execFile } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isProgram, placesInPath } from '../../../../../platform/programs.ts';
import { systemErrorCode } from '../../../../../shared/system-error.ts';

/** Where to look for a `llama-server`. */
export type LlamaServerChoice = { kind: 'search' } | { kind: 'path'; path: string } | { kind: 'off' };

export type LlamaServerBinary = {
  path: string;
  /** E.g. `0.5.0` or `b5921`; null where it does not tell. */
  version: string | null;
};

/** What was found: a binary that can be used, and else why there is none. */
export type LlamaServerFinding = { binary: LlamaServerBinary; fault: null } | { binary: null; path: string | null; version: string | null; fault: string };

/** First build with every option that is passed below, and with the chat templates of models on (`--jinja`). */
const oldestBuild = 5_000;
/** A cold start of a big CUDA build reads hundreds of megabytes of libraries. */
const versionTimeoutMs = 10_000;
const programName = process.platform === 'win32' ? 'llama-server.exe' : 'llama-server';

/** Where `llm-manager engines build llama-server` puts it, below the folder of engines. */
export const builtLlamaServer = (enginesDir: string): string => join(enginesDir, 'llama-server', 'bin', programName);

/** Looks for the program each time it is asked, and asks each program for its version once. */
export class LlamaServerFinder {
  readonly #choice: LlamaServerChoice;
  readonly #enginesDir: string;
  readonly #searchPath: string;
  readonly #asked = new Map<string, Promise<LlamaServerFinding>>();

  constructor(choice: LlamaServerChoice, enginesDir: string, searchPath = process.env['PATH'] ?? '') {
    this.#choice = choice;
    this.#enginesDir = enginesDir;
    this.#searchPath = searchPath;
  }

  /** A path that the operator has set counts even when it cannot be used: another engine in its place would surprise. */
  get isForced(): boolean {
    return this.#choice.kind === 'path';
  }

  /** Never rejects. */
  async find(): Promise<LlamaServerFinding> {
    if (this.#choice.kind === 'off') return { binary: null, path: null, version: null, fault: 'It is switched off (LLM_MANAGER_LLAMA_SERVER=off).' };
    if (this.#choice.kind === 'path') return await this.#ask(this.#choice.path);
    let unusable: LlamaServerFinding | null = null;
    for (const path of [builtLlamaServer(this.#enginesDir), ...placesInPath(programName, this.#searchPath)]) {
      if (!(await isProgram(path))) continue;
      const found = await this.#ask(path);
      if (found.binary) return found;
      unusable ??= found;
    }
    return unusable ?? { binary: null, path: null, version: null, fault: 'It is not installed.' };
  }

  async #ask(path: string): Promise<LlamaServerFinding> {
    const about = await stat(path).catch(() => null);
    const key = about === null ? null : `${path}\0${about.ino}\0${about.size}\0${about.mtimeMs}`;
    const known = key === null ? undefined : this.#asked.get(key);
    if (known) return await known;
    const asking = readBinary(path);
    if (key !== null) this.#asked.set(key, asking);
    const found = await asking;
    // A machine under load may be too slow once; what could not be asked is asked again.
    if (key !== null && found.binary === null) this.#asked.delete(key);
    return found;
  }
}

async function readBinary(path: string): Promise<LlamaServerFinding> {
  if (!(await isProgram(path))) return { binary: null, path, version: null, fault: `${path} is not there, or is not a program that may be run.` };
  const { promise, resolve } = Promise.withResolvers<LlamaServerFinding>();
  const environment = { PATH: process.env['PATH'], LD_LIBRARY_PATH: process.env['LD_LIBRARY_PATH'], LC_ALL: 'C' };
  execFile(path, ['--version'], { timeout: versionTimeoutMs, maxBuffer: 256 * 1024, env: environment }, (error, stdout, stderr) => {
    if (error) resolve({ binary: null, path, version: null, fault: `${path} cannot be run (${systemErrorCode(error) ?? error.signal ?? 'it ended with an error'}).` });
    else resolve(judge(path, readVersion(`${stdout}\n${stderr}`)));
  });
  return await promise;
}

type Version = { text: string; build: number | null };

/** `version: 0.5.0 (build 7, commit abc)` since llama.cpp has releases, `version: 5921 (abc)` before. */
export function readVersion(output: string): Version | null {
  const match = /^version:\s*(\S+)/m.exec(output);
  const text = match?.[1];
  if (text === undefined) return null;
  return /^\d+$/.test(text) ? { text: `b${text}`, build: Number(text) } : { text, build: null };
}

function judge(path: string, version: Version | null): LlamaServerFinding {
  if (version === null) return { binary: null, path, version: null, fault: `${path} does not tell its version: it is not llama.cpp's server.` };
  // 0 and 1 are builds from a copy of the source without its history: nothing can be told from those.
  if (version.build !== null && version.build > 1 && version.build < oldestBuild) {
    return { binary: null, path, version: version.text, fault: `${path} is too old (${version.text}); b${oldestBuild} is the first that can be used.` };
  }
  return { binary: { path, version: version.text }, fault: null };
}
