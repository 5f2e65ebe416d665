import { readFile } from 'node:fs/promises';
import { writeFileAtomic } from '../infrastructure/data-folder/write-file-atomic.ts';

/** What the arrow keys reach back to. */
const linesMax = 500;
/** A longer line is a paste, which nobody looks for with the arrow keys. */
const lineLengthMax = 2_000;

/**
 * What was typed at earlier prompts, in a file that only its user reads. It is a convenience: where the file cannot be
 * read or written, the prompt works without.
 */
export class InputHistory {
  readonly #file: string;
  #saving: Promise<void> = Promise.resolve();

  constructor(file: string) {
    this.#file = file;
  }

  /** Newest first, as readline wants it. */
  async load(): Promise<string[]> {
    const text = await readFile(this.#file, 'utf8').catch(() => '');
    return text.split('\n').filter((line) => line !== '').slice(-linesMax).reverse();
  }

  /** Another prompt may write meanwhile: what it added stays. */
  add(line: string): void {
    if (line.trim() === '' || line.length > lineLengthMax || /[\r\n]/.test(line)) return;
    this.#saving = this.#saving.then(async () => {
      const before = await this.load();
      if (before[0] === line) return;
      const lines = [...before.toReversed(), line].slice(-linesMax);
      await writeFileAtomic(this.#file, `${lines.join('\n')}\n`);
    }).catch(() => undefined);
  }

  /** Resolves when everything that was added has been written. */
  async saved(): Promise<void> {
    await this.#saving;
  }
}
