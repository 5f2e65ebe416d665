import type { Clock } from '../../shared/clock.ts';
import type { DownloadFigures } from '../../shared/event-bus.ts';

/** A process that has told nothing for so long is gone or stands still: its speed is no news any more. */
const staleMs = 10_000;

/** The newest figures of every running task, from this process and from others. */
export class FiguresBoard {
  readonly #clock: Clock;
  readonly #figures = new Map<string, { figures: DownloadFigures; atMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  set(taskId: string, figures: DownloadFigures): void {
    this.#figures.set(taskId, { figures, atMs: this.#clock.monotonicMs() });
  }

  get(taskId: string): DownloadFigures | null {
    const known = this.#figures.get(taskId);
    return known && this.#clock.monotonicMs() - known.atMs < staleMs ? known.figures : null;
  }

  delete(taskId: string): void {
    this.#figures.delete(taskId);
  }
}
