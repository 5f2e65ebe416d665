import { styleText } from 'node:util';
import { toTerminalText } from '../infrastructure/logging/safe-text.ts';

type Style = Parameters<typeof styleText>[0];

export type OutputOptions = { json: boolean; stdout: NodeJS.WriteStream; stderr: NodeJS.WriteStream; env: Readonly<Record<string, string | undefined>> };

/**
 * Where a command says what it has to say: its result on standard output, as text or as JSON, and everything that
 * happens on the way on standard error. Text that came from outside is made harmless before a person's terminal.
 */
export class Output {
  readonly json: boolean;
  /** Whether a line on standard error may be drawn over: never where a log is made of it. */
  readonly isLive: boolean;
  readonly #options: OutputOptions;

  constructor(options: OutputOptions) {
    this.#options = options;
    this.json = options.json;
    this.isLive = options.stderr.isTTY && !options.env['CI'] && options.env['TERM'] !== 'dumb';
  }

  /** Columns of the terminal, or what a text file can hold well. */
  get width(): number {
    const { columns } = this.#options.stdout;
    return this.#options.stdout.isTTY && columns > 0 ? columns : 120;
  }

  /** A line of the result for people; left out where JSON is asked for. */
  line(text = ''): void {
    if (!this.json) this.#options.stdout.write(`${toTerminalText(text)}\n`);
  }

  /** Text that goes on where the last one ended, such as an answer: unchanged where a program reads it. */
  piece(text: string): void {
    if (!this.json) this.#options.stdout.write(this.#options.stdout.isTTY ? toTerminalText(text) : text);
  }

  /** Rows that were laid out, and made harmless, before. */
  block(text: string): void {
    if (!this.json) this.#options.stdout.write(`${text}\n`);
  }

  /** The result as one JSON document, or one line of a stream of them. */
  data(value: unknown): void {
    if (this.json) this.#options.stdout.write(`${JSON.stringify(value)}\n`);
  }

  /** What happens, for people, on standard error. */
  note(text: string): void {
    this.#options.stderr.write(`${toTerminalText(text)}\n`);
  }

  /** Writes to the terminal as it is, control characters too; only where `isLive`. */
  draw(text: string): void {
    this.#options.stderr.write(text);
  }

  style(style: Style, text: string): string {
    const { env, stdout } = this.#options;
    const plain = env['NO_COLOR'] || env['CI'] || env['TERM'] === 'dumb' || !stdout.isTTY;
    return plain ? text : styleText(style, text, { validateStream: false });
  }

  /** Resolves when everything has left the process. */
  async flush(): Promise<void> {
    for (const stream of [this.#options.stdout, this.#options.stderr]) {
      if (stream.destroyed) continue;
      const { promise, resolve } = Promise.withResolvers<undefined>();
      stream.write('', () => resolve(undefined));
      await promise;
    }
  }
}
