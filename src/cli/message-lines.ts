const fence = '"""';

/**
 * Puts a message together from the lines of a prompt: a line that ends in a backslash goes on with the next one, and
 * everything between two `"""` is one message.
 */
export class MessageLines {
  #lines: string[] = [];
  #isFenced = false;

  /** Whether more lines belong to the message that has begun. */
  get isOpen(): boolean {
    return this.#isFenced || this.#lines.length > 0;
  }

  /** The whole message when this line was its last one, else null. */
  take(line: string): string | null {
    if (this.#isFenced) return this.#takeFenced(line);
    if (this.#lines.length === 0 && line.trimStart().startsWith(fence)) {
      this.#isFenced = true;
      const first = line.trimStart().slice(fence.length);
      return first === '' ? null : this.#takeFenced(first);
    }
    if (line.endsWith('\\')) {
      this.#lines.push(line.slice(0, -1));
      return null;
    }
    this.#lines.push(line);
    return this.#finish();
  }

  /** What was begun is left, as Ctrl-C does. */
  drop(): void {
    this.#lines = [];
    this.#isFenced = false;
  }

  /** The message as far as it is, at the end of input. */
  rest(): string {
    return this.#finish();
  }

  #takeFenced(line: string): string | null {
    const end = line.trimEnd();
    if (!end.endsWith(fence)) {
      this.#lines.push(line);
      return null;
    }
    const last = end.slice(0, -fence.length);
    if (last !== '') this.#lines.push(last);
    return this.#finish();
  }

  #finish(): string {
    const text = this.#lines.join('\n').trimEnd();
    this.drop();
    return text;
  }
}
