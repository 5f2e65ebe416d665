import { StopReason } from '../../shared/abort.ts';

export type Phase = 'running' | 'verifying';

/**
 * Follows between two states while files come and are compared. Changes go to the database one after the other, only
 * the last one that is wanted, and never hold up a transfer.
 */
export class PhaseTracker {
  readonly #move: (to: Phase) => Promise<unknown>;
  readonly #lost = new AbortController();
  #stored: Phase = 'running';
  #wanted: Phase = 'running';
  #storing: Promise<void> | null = null;
  #failure: unknown;

  /** `move` answers null when the task is no longer ours. */
  constructor(move: (to: Phase) => Promise<unknown>) {
    this.#move = move;
  }

  /** Aborts when the row was taken out of this run's hands, or cannot be written. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  enter(phase: Phase): void {
    this.#wanted = phase;
    if (this.#wanted !== this.#stored) this.#storing ??= this.#store();
  }

  /** Resolves when the row is in that state. */
  async settle(phase: Phase): Promise<void> {
    this.enter(phase);
    await this.#storing;
    if (this.#failure !== undefined) throw this.#failure as Error;
  }

  async #store(): Promise<void> {
    try {
      while (this.#wanted !== this.#stored) {
        const to = this.#wanted;
        if ((await this.#move(to)) === null) throw new StopReason('superseded');
        this.#stored = to;
      }
    } catch (error) {
      this.#failure = error;
      this.#lost.abort(error);
    } finally {
      this.#storing = null;
    }
  }
}
