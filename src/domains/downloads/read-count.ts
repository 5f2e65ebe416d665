/** How far a long piece of work is that reads files. Counted by who does it, looked at by who shows it. */
export class ReadCount {
  #readBytes = 0;
  #totalBytes: number | null = null;

  get readBytes(): number {
    return this.#readBytes;
  }

  /** Null = not known, or not yet. */
  get totalBytes(): number | null {
    return this.#totalBytes;
  }

  expect(totalBytes: number): void {
    this.#totalBytes = totalBytes;
  }

  add(bytes: number): void {
    this.reach(this.#readBytes + bytes);
  }

  /** So many in all; never fewer than before, and never more than there are. */
  reach(bytes: number): void {
    this.#readBytes = Math.min(Math.max(bytes, this.#readBytes), this.#totalBytes ?? Number.MAX_SAFE_INTEGER);
  }
}
