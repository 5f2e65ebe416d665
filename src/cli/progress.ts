import type { DownloadTaskFieldsFragment, StorageJobFieldsFragment } from '../../schema/generated/graphql.ts';
import { toTerminalText } from '../infrastructure/logging/safe-text.ts';
import { bytes, duration, word } from './format.ts';
import type { Output } from './output.ts';
import { drawnBar } from './progress-bar.ts';

export type Task = DownloadTaskFieldsFragment;

/** In a pipe a line is a line for ever: one for each step of this share, and one for each change of state. */
const plainStep = 0.1;

/** How far a download is, in one line; the bar comes where it is drawn over. */
export function progressLine(task: Task, { bar }: { bar: boolean }): string {
  const { status, progress, totalBytes, downloadedBytes, speedBytesPerSecond, etaSeconds } = task;
  const percent = `${Math.floor(progress * 100)} %`;
  const parts = [
    ...(bar ? [drawnBar(progress)] : []),
    ...(totalBytes === null ? [bytes(downloadedBytes)] : [percent.padStart(5), `${bytes(downloadedBytes)} of ${bytes(totalBytes)}`]),
    ...(status === 'RUNNING' ? [`${bytes(speedBytesPerSecond)}/s`] : [word(status)]),
    ...(status === 'RUNNING' && etaSeconds !== null ? [`${duration(etaSeconds)} left`] : []),
    ...(status === 'QUEUED' && task.queuePosition !== null ? [`place ${task.queuePosition}`] : []),
    ...(status === 'RETRYING' && task.error ? [task.error.message] : []),
  ];
  return toTerminalText(parts.join('  ')).replaceAll(/[\t\n]+/g, ' ');
}

function jobLine({ readBytes, totalBytes, status }: StorageJobFieldsFragment, { bar, progress }: { bar: boolean; progress: number }): string {
  const read = totalBytes === null ? [`${bytes(readBytes)} read`] : [`${Math.floor(progress * 100)} %`.padStart(5), `${bytes(readBytes)} of ${bytes(totalBytes)} read`];
  return [...(bar && totalBytes !== null ? [drawnBar(progress)] : []), ...read, ...(status === 'RUNNING' ? [] : [word(status)])].join('  ');
}

/** Shows a download while it goes on: one line that is drawn over on a terminal, a few lines in a pipe. */
export class ProgressView {
  readonly #output: Output;
  #shown: { status: string; step: number } | null = null;
  #isDrawn = false;

  constructor(output: Output) {
    this.#output = output;
  }

  update(task: Task): void {
    this.#show(task, (bar) => progressLine(task, { bar }));
  }

  /** The same for work on stored models. */
  updateJob(job: StorageJobFieldsFragment): void {
    const { status, readBytes, totalBytes } = job;
    const progress = totalBytes === null || totalBytes === 0 ? 0 : readBytes / totalBytes;
    this.#show({ status, progress }, (bar) => jobLine(job, { bar, progress }));
  }

  #show({ status, progress }: { status: string; progress: number }, line: (bar: boolean) => string): void {
    if (this.#output.isLive) {
      // A line that wraps cannot be drawn over.
      this.#output.draw(`\r\u001B[2K${line(true).slice(0, Math.max(20, this.#output.width - 1))}`);
      this.#isDrawn = true;
      return;
    }
    const step = Math.floor(progress / plainStep);
    if (this.#shown?.status === status && this.#shown.step === step) return;
    this.#shown = { status, step };
    this.#output.note(line(false));
  }

  /** Leaves the last line where it stands. */
  end(): void {
    if (this.#isDrawn) this.#output.draw('\n');
    this.#isDrawn = false;
  }
}
