/** How far each part of a file is, in a form that is small whatever the size of the file. */
export type PartProgress = {
  /** Bytes from the start of the file that are there without a gap. */
  prefix: number;
  /** Further parts that are begun or finished: index and bytes from the part's start. */
  parts: readonly (readonly [number, number])[];
};

/** One part, or several that follow each other. */
export type Part = { index: number; count: number; /** Next byte to fetch. */ start: number; /** First byte behind it. */ end: number };

/** Which bytes of a file are there, and who fetches which of the others. Parts are handed out in the file's order. */
export class PartMap {
  readonly size: number;
  readonly partBytes: number;
  readonly #done: Uint32Array;
  readonly #taken = new Set<number>();
  /** The first part that is not complete. */
  #first = 0;
  #highest = -1;
  #doneBytes = 0;

  constructor(size: number, partBytes: number, progress: PartProgress = { prefix: 0, parts: [] }) {
    this.size = size;
    this.partBytes = partBytes;
    this.#done = new Uint32Array(Math.ceil(size / partBytes));
    const whole = Math.floor(progress.prefix / partBytes);
    for (let index = 0; index < whole; index += 1) this.#set(index, this.#lengthOf(index));
    if (whole < this.#done.length) this.#set(whole, progress.prefix - whole * partBytes);
    for (const [index, bytes] of progress.parts) this.#set(index, bytes);
    this.#moveFirst();
  }

  get doneBytes(): number {
    return this.#doneBytes;
  }

  get isComplete(): boolean {
    return this.#doneBytes === this.size;
  }

  get prefixBytes(): number {
    return Math.min(this.size, this.#first * this.partBytes + (this.#done[this.#first] ?? 0));
  }

  /** The first unfinished part that nobody has, with those behind it that are not begun, `partsMax` in all; or null. */
  take(partsMax = 1): Part | null {
    const index = this.#firstFree();
    if (index === null) return null;
    let count = 1;
    while (count < partsMax && this.#isUntouched(index + count)) count += 1;
    for (let at = index; at < index + count; at += 1) this.#taken.add(at);
    const begin = index * this.partBytes;
    const last = index + count - 1;
    return { index, count, start: begin + (this.#done[index] ?? 0), end: last * this.partBytes + this.#lengthOf(last) };
  }

  /** How many parts there are to take; counted up to `most`. */
  freeParts(most: number): number {
    let free = 0;
    for (let index = this.#first; index < this.#done.length && free < most; index += 1) if (!this.#taken.has(index) && !this.#isDone(index)) free += 1;
    return free;
  }

  /** Whether there is a part to take. */
  get hasFree(): boolean {
    return this.#firstFree() !== null;
  }

  /** Gives parts back, finished or not. */
  release({ index, count }: Pick<Part, 'index' | 'count'>): void {
    for (let at = index; at < index + count; at += 1) this.#taken.delete(at);
  }

  /** `bytes` more of the part lie in the file. */
  advance(index: number, bytes: number): void {
    this.#set(index, (this.#done[index] ?? 0) + bytes);
    this.#moveFirst();
  }

  /** Forgets what lies beyond the first gap: for a storage that can only send a file from its start. */
  dropAfterPrefix(): void {
    for (let index = this.#first + 1; index <= this.#highest; index += 1) this.#set(index, 0);
  }

  progress(): PartProgress {
    const parts: [number, number][] = [];
    for (let index = this.#first + 1; index <= this.#highest; index += 1) {
      const bytes = this.#done[index] ?? 0;
      if (bytes > 0) parts.push([index, bytes]);
    }
    return { prefix: this.prefixBytes, parts };
  }

  #firstFree(): number | null {
    for (let index = this.#first; index < this.#done.length; index += 1) if (!this.#taken.has(index) && !this.#isDone(index)) return index;
    return null;
  }

  #isUntouched(index: number): boolean {
    return index < this.#done.length && this.#done[index] === 0 && !this.#taken.has(index);
  }

  #set(index: number, bytes: number): void {
    this.#doneBytes += bytes - (this.#done[index] ?? 0);
    this.#done[index] = bytes;
    if (bytes > 0) this.#highest = Math.max(this.#highest, index);
  }

  #moveFirst(): void {
    while (this.#first < this.#done.length && this.#isDone(this.#first)) this.#first += 1;
  }

  #isDone(index: number): boolean {
    return this.#done[index] === this.#lengthOf(index);
  }

  #lengthOf(index: number): number {
    return Math.min(this.partBytes, this.size - index * this.partBytes);
  }
}

/** True when `progress` can belong to a file of this size: it was read from a disk and is believed only then. */
export function isValidProgress(progress: PartProgress, size: number, partBytes: number): boolean {
  const count = Math.ceil(size / partBytes);
  const isWhole = (value: number, max: number): boolean => Number.isSafeInteger(value) && value >= 0 && value <= max;
  if (!isWhole(progress.prefix, size)) return false;
  const first = Math.floor(progress.prefix / partBytes);
  let before = first;
  for (const [index, bytes] of progress.parts) {
    if (!isWhole(index, count - 1) || index <= before || !isWhole(bytes, Math.min(partBytes, size - index * partBytes))) return false;
    before = index;
  }
  return true;
}
