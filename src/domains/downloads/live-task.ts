import type { Clock } from '../../shared/clock.ts';
import type { DownloadFigures } from '../../shared/event-bus.ts';
import type { Figures, FileRow } from './download.repository.ts';
import { SpeedWindow } from './transfer/speed-window.ts';
import type { DownloadFileStatus } from './types.ts';

/** Four a second is what a person can read and more than a progress bar needs. */
const publishEveryMs = 250;
/** A kill shows figures this old until the task goes on; the truth lies beside the partial files. */
const saveEveryMs = 1_000;

type LiveFile = {
  sizeBytes: number;
  downloadedBytes: number;
  status: DownloadFileStatus;
  sha256: string | null;
  /** The row shows what was computed. A file without any promised digest keeps none: it is told apart by its origin. */
  keepsSha256: boolean;
};

type StoredFile = Pick<LiveFile, 'downloadedBytes' | 'status'> & { sha256?: string };

export type LiveTaskOptions = {
  files: readonly FileRow[];
  clock: Clock;
  publish: (figures: DownloadFigures) => void;
  /** Stores them, of the files only those that have changed since. False when that could not be; never rejects. */
  save: (figures: Figures) => Promise<boolean>;
};

/** The moving figures of a task that runs in this process. */
export class LiveTask {
  readonly #options: LiveTaskOptions;
  readonly #files: ReadonlyMap<string, LiveFile>;
  readonly #totalBytes: number;
  readonly #speed = new SpeedWindow();
  readonly #timer: NodeJS.Timeout;
  #published = '';
  /** By path; what the row of each file says. */
  readonly #stored: Map<string, StoredFile>;
  #savedAtMs: number;
  #saving: Promise<void> = Promise.resolve();
  #isSaving = false;
  #closing: Promise<void> | null = null;

  constructor(options: LiveTaskOptions) {
    const { files, clock } = options;
    this.#options = options;
    this.#files = new Map(files.map((file) => [file.path, toLiveFile(file)]));
    this.#stored = new Map(files.map(({ path, downloadedBytes, status }) => [path, { downloadedBytes, status }]));
    this.#totalBytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    this.#savedAtMs = clock.monotonicMs();
    this.#timer = setInterval(() => this.#tick(), publishEveryMs).unref();
  }

  /** `fetched` counts for the speed; what an earlier attempt left does not. */
  progress(path: string, bytes: number, fetched: number): void {
    const file = this.#files.get(path);
    if (!file) return;
    file.downloadedBytes = bytes;
    file.status = 'running';
    if (fetched > 0) this.#speed.add(fetched, this.#options.clock.monotonicMs());
  }

  verifying(path: string): void {
    const file = this.#files.get(path);
    if (file) file.status = 'verifying';
  }

  complete(path: string, sha256: string | null): void {
    const file = this.#files.get(path);
    if (file) Object.assign(file, { downloadedBytes: file.sizeBytes, status: 'completed', sha256 });
  }

  fail(path: string): void {
    const file = this.#files.get(path);
    if (file) file.status = 'failed';
  }

  checksums(): (readonly [string, string])[] {
    return [...this.#files].flatMap(([path, { sha256 }]) => (sha256 === null ? [] : [[path, sha256] as const]));
  }

  /** All bytes of all files are there. */
  get isFetched(): boolean {
    return [...this.#files.values()].every(({ status }) => status === 'verifying' || status === 'completed');
  }

  figures(): DownloadFigures {
    const nowMs = this.#options.clock.monotonicMs();
    const files = [...this.#files].map(([path, { downloadedBytes, status }]) => ({ path, downloadedBytes, status }));
    const downloadedBytes = files.reduce((sum, file) => sum + file.downloadedBytes, 0);
    const average = this.#speed.averageBytesPerSecond(nowMs);
    const left = this.#totalBytes - downloadedBytes;
    const etaSeconds = average > 0 ? Math.ceil(left / average) : null;
    return { downloadedBytes, totalBytes: this.#totalBytes, speedBytesPerSecond: this.#speed.bytesPerSecond(nowMs), etaSeconds, files };
  }

  /** Ends the figures; the last ones are stored when this resolves. */
  async close(): Promise<void> {
    this.#closing ??= this.#end();
    await this.#closing;
  }

  async #end(): Promise<void> {
    clearInterval(this.#timer);
    await this.#saving;
    await this.#save();
  }

  #tick(): void {
    const figures = this.figures();
    const text = JSON.stringify(figures);
    if (text !== this.#published) {
      this.#published = text;
      this.#options.publish(figures);
    }
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#savedAtMs < saveEveryMs || this.#isSaving) return;
    this.#savedAtMs = nowMs;
    this.#saving = this.#save();
  }

  async #save(): Promise<void> {
    this.#isSaving = true;
    const changed = new Map<string, StoredFile>();
    let downloadedBytes = 0;
    for (const [path, file] of this.#files) {
      downloadedBytes += file.downloadedBytes;
      const stored = toStored(file);
      if (!isSame(stored, this.#stored.get(path))) changed.set(path, stored);
    }
    const files = [...changed].map(([path, file]) => ({ path, ...file }));
    const isStored = await this.#options.save({ downloadedBytes, files });
    if (isStored) for (const [path, file] of changed) this.#stored.set(path, file);
    this.#isSaving = false;
  }
}

function toLiveFile({ sizeBytes, downloadedBytes, status, gitSha1 }: FileRow): LiveFile {
  return { sizeBytes, downloadedBytes, status, sha256: null, keepsSha256: typeof gitSha1 === 'string' };
}

function toStored({ downloadedBytes, status, sha256, keepsSha256 }: LiveFile): StoredFile {
  return { downloadedBytes, status, ...(keepsSha256 && sha256 !== null ? { sha256 } : {}) };
}

function isSame(file: StoredFile, stored: StoredFile | undefined): boolean {
  return file.downloadedBytes === stored?.downloadedBytes && file.status === stored.status && file.sha256 === stored.sha256;
}
