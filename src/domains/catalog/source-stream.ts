import type { StoredError } from '../../shared/errors.ts';
import type { SourcePosition } from './search-cursor.ts';
import type { SourcePage } from './source.ts';
import type { ModelSummary, SourceId, SourceState } from './types.ts';

/** One page of a source, or why there is none. Never rejects but for the caller's own abort. */
export type PageAnswer =
  | { kind: 'page'; page: SourcePage; cached: boolean; stale: boolean; error: StoredError | null }
  | { kind: 'failed'; error: StoredError };

export type ReadPage = (cursor: string | null) => Promise<PageAnswer>;

/** Pages that one merged page reads of a source at most: sources may answer with fewer rows than asked for, or none. */
const pagesPerSearchMax = 20;

/** A source's results as one sequence of rows, read a page at a time. */
export class SourceStream {
  readonly id: SourceId;
  readonly #read: ReadPage;
  #position: SourcePosition | null;
  #rows: readonly ModelSummary[] = [];
  #next: string | null = null;
  #isLoaded = false;
  #pagesRead = 0;
  #state: SourceState;

  /** `position` null: the source is at its end, or has nothing of what is asked. */
  constructor(id: SourceId, position: SourcePosition | null, read: ReadPage) {
    this.id = id;
    this.#position = position;
    this.#read = read;
    this.#state = { source: id, status: 'ok', cached: false, error: null };
  }

  get state(): SourceState {
    return this.#state;
  }

  get isFailed(): boolean {
    return this.#state.status === 'failed';
  }

  /** Where the rest begins; null at the end. */
  get position(): SourcePosition | null {
    return this.#position;
  }

  get head(): ModelSummary | undefined {
    return this.#position && this.#isLoaded ? this.#rows[this.#position.taken] : undefined;
  }

  take(): void {
    if (this.#position) this.#position = { ...this.#position, taken: this.#position.taken + 1 };
    this.#passEmptyPage();
  }

  fail(error: StoredError): void {
    this.#state = { source: this.id, status: 'failed', cached: false, error };
  }

  /** Reads on until there is a row, the end, or a failure. */
  async fill(): Promise<void> {
    while (this.#position && !this.isFailed && this.head === undefined && this.#pagesRead < pagesPerSearchMax) {
      this.#pagesRead += 1;
      const answer = await this.#read(this.#position.cursor);
      if (answer.kind === 'failed') {
        this.fail(answer.error);
        return;
      }
      this.#rows = answer.page.items;
      this.#next = answer.page.nextCursor;
      this.#isLoaded = true;
      this.#note(answer);
      this.#passEmptyPage();
    }
  }

  /** The worst of its pages is what is told of the source. */
  #note({ cached, stale, error }: { cached: boolean; stale: boolean; error: StoredError | null }): void {
    const before = this.#state;
    const isFirst = this.#pagesRead === 1;
    this.#state = {
      source: this.id,
      status: stale || before.status === 'stale' ? 'stale' : 'ok',
      cached: isFirst ? cached : cached && before.cached,
      error: error ?? before.error,
    };
  }

  #passEmptyPage(): void {
    if (!this.#position || !this.#isLoaded || this.#position.taken < this.#rows.length) return;
    this.#position = this.#next === null ? null : { cursor: this.#next, taken: 0 };
    this.#isLoaded = false;
  }
}
