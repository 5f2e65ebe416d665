import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import * as z from 'zod';
import { tellable } from '../../logs/log-line.ts';
import { engineEnvironment } from './engine-environment.ts';

const trialSchema = z.union([
  z.object({ loads: z.literal(true), devices: z.array(z.string().max(300).transform(tellable)).max(64) }),
  z.object({ loads: z.literal(false), reason: z.string().max(2_000).transform((text) => tellable(text.replaceAll(/\s+/g, ' ').trim())) }),
]);

/** Whether a build of the embedded engine loads here: the graphics cards that it finds then, or why it does not. */
export type Trial = z.infer<typeof trialSchema>;

export type Variant = { kind: 'cuda' | 'vulkan' | 'metal'; packageName: string };

const run = promisify(execFile);
const usualProgram = fileURLToPath(new URL('./child/try-variant.ts', import.meta.url));
/** CUDA's libraries are half a gigabyte, read from a cold disk at the first time. Whoever asks waits no longer than a probe may take. */
const trialMsMax = 10_000;
const outputBytesMax = 64 * 1024;
/** A driver may be installed while we run. */
const failedForMs = 10 * 60_000;

/** Tries each build once, and one that did not load again after a while. */
export class VariantTrials {
  readonly #program: string;
  readonly #limitMs: number;
  readonly #known = new Map<string, { trial: Promise<Trial>; askAgainAtMs: number }>();

  constructor({ program = usualProgram, limitMs = trialMsMax }: { program?: string; limitMs?: number } = {}) {
    this.#program = program;
    this.#limitMs = limitMs;
  }

  /** Never rejects. */
  async of(variant: Variant): Promise<Trial> {
    const known = this.#known.get(variant.kind);
    if (known && performance.now() < known.askAgainAtMs) return await known.trial;
    const trial = this.#try(variant);
    const entry = { trial, askAgainAtMs: Infinity };
    this.#known.set(variant.kind, entry);
    if (!(await trial).loads) entry.askAgainAtMs = performance.now() + failedForMs;
    return await trial;
  }

  async #try({ kind, packageName }: Variant): Promise<Trial> {
    try {
      const options = { timeout: this.#limitMs, killSignal: 'SIGKILL' as const, maxBuffer: outputBytesMax, env: engineEnvironment({}) };
      const { stdout } = await run(process.execPath, ['--disable-warning=ExperimentalWarning', this.#program, kind, packageName], options);
      return trialSchema.parse(JSON.parse(stdout.trim().split('\n').at(-1) ?? ''));
    } catch (error) {
      return { loads: false, reason: reasonOf(error) };
    }
  }
}

/** Nothing of what a broken driver has printed. */
function reasonOf(error: unknown): string {
  const { killed, signal, code } = error as { killed?: unknown; signal?: unknown; code?: unknown };
  if (killed === true) return 'it did not load in time';
  if (typeof signal === 'string') return `it crashed (${signal})`;
  return typeof code === 'number' ? `it ended with exit code ${code}` : 'it could not be tried';
}
