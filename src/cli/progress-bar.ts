import type { Output } from './output.ts';

const barWidth = 24;
/** In a pipe a line is a line for ever. */
const plainStep = 0.1;

/** How much is done, 0 to 1, as people see it. */
export function drawnBar(progress: number): string {
  const filled = Math.round(progress * barWidth);
  return `${'█'.repeat(filled)}${'░'.repeat(barWidth - filled)}`;
}

/** Shows how far something is that takes a while: a bar that is drawn over on a terminal, a few lines in a pipe. */
export class ProgressBar {
  readonly #output: Output;
  #step = -1;
  #isDrawn = false;

  constructor(output: Output) {
    this.#output = output;
  }

  update(progress: number): void {
    const percent = `${Math.floor(progress * 100)} %`.padStart(5);
    if (this.#output.isLive) {
      this.#output.draw(`\r\u001B[2K${drawnBar(progress)}  ${percent}`);
      this.#isDrawn = true;
      return;
    }
    const step = Math.floor(progress / plainStep);
    if (step === this.#step) return;
    this.#step = step;
    this.#output.note(percent);
  }

  /** Leaves the last line where it stands; may be called twice. */
  end(): void {
    if (this.#isDrawn) this.#output.draw('\n');
    this.#isDrawn = false;
  }
}
