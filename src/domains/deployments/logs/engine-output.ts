import { open, readFile, rm, truncate, writeFile, type FileHandle } from 'node:fs/promises';
import type { LogLine } from '../../../shared/event-bus.ts';
import { systemErrorCode } from '../../../shared/system-error.ts';
import { lineBytesMax, parseEngineLine } from './log-line.ts';
import type { RunLog } from './run-log.ts';

const pollMs = 150;
const chunkBytes = 256 * 1024;
/** More than this waiting to be read at once is a flood: only its end is read. */
const backlogBytesMax = 64 * 1024 * 1024;
const backlogKeptBytes = 1024 * 1024;
/** The file is emptied once this much of it has been taken over. */
const truncateAtBytes = 8 * 1024 * 1024;
const newline = 0x0a;

/**
 * Takes over what an engine writes to its file into the log of its run. The engine appends to a file and not to a
 * pipe, so that it neither stalls nor dies when the service is gone; it must have opened the file for appending,
 * because the file is emptied from time to time.
 */
export class EngineOutput {
  readonly #path: string;
  readonly #log: RunLog;
  readonly #onFault: (error: unknown) => void;
  readonly #stream: LogLine['stream'];
  /** Bytes of the file that were read; null = not known yet. */
  #position: number | null = null;
  #storedPosition = -1;
  /** The line that has begun but not ended, cut at the longest that is kept. */
  #partial = Buffer.alloc(0);
  /** Bytes of that line beyond the cut. */
  #partialCut = 0;
  #timer: NodeJS.Timeout | null = null;
  #reading: Promise<void> | null = null;
  #stopped = false;

  constructor(path: string, log: RunLog, onFault: (error: unknown) => void, stream: LogLine['stream'] = 'stderr') {
    this.#path = path;
    this.#log = log;
    this.#onFault = onFault;
    this.#stream = stream;
  }

  start(): void {
    this.#timer = setTimeout(() => void this.#tick(), pollMs).unref();
  }

  /** Reads what has been written until now; for a reader who wants the newest lines at once. */
  async catchUp(): Promise<void> {
    this.#reading ??= this.#readAll().finally(() => (this.#reading = null));
    await this.#reading;
  }

  /** Reads the rest and removes the file. The engine must have ended. */
  async stop(): Promise<void> {
    await this.leave();
    if (this.#partial.length > 0) this.#emit(this.#partial);
    this.#partial = Buffer.alloc(0);
    await rm(this.#path, { force: true }).catch(this.#onFault);
    await rm(this.#positionPath, { force: true }).catch(this.#onFault);
  }

  /** Reads what is there and lets the engine go on writing; who comes next reads on from here. */
  async leave(): Promise<void> {
    this.#stopped = true;
    if (this.#timer) clearTimeout(this.#timer);
    if (this.#reading) await this.#reading;
    await this.catchUp();
  }

  get #positionPath(): string {
    return `${this.#path}.position`;
  }

  async #tick(): Promise<void> {
    await this.catchUp();
    if (!this.#stopped) this.start();
  }

  async #readAll(): Promise<void> {
    let file: FileHandle | null = null;
    try {
      file = await open(this.#path, 'r');
      this.#position ??= await this.#readPosition();
      await this.#storePosition(await this.#readFrom(file, this.#position));
    } catch (error) {
      // Not there yet: an engine that has not begun to write.
      if (systemErrorCode(error) !== 'ENOENT') this.#onFault(error);
    } finally {
      await file?.close();
    }
  }

  /** Reads from `from` on and answers how far it came. */
  async #readFrom(file: FileHandle, from: number): Promise<number> {
    const { size } = await file.stat();
    let position = size < from ? 0 : from;
    if (size - position > backlogBytesMax) {
      this.#skip(size - backlogKeptBytes - position);
      position = size - backlogKeptBytes;
    }
    const buffer = Buffer.alloc(chunkBytes);
    // Up to the size seen at the beginning: a flood must not keep one reading from ever ending.
    while (position < size) {
      const { bytesRead } = await file.read(buffer, 0, Math.min(chunkBytes, size - position), position);
      if (bytesRead === 0) break;
      position += bytesRead;
      this.#take(buffer.subarray(0, bytesRead));
    }
    this.#position = position;
    return position >= truncateAtBytes ? await this.#empty(file, position) : position;
  }

  /**
   * What has come meanwhile is read first, unless a flood would then never let the file be emptied; what that costs is
   * told. Only what is written between this look and the cut is lost unseen: less than a millisecond of a flood.
   */
  async #empty(file: FileHandle, position: number): Promise<number> {
    const { size } = await file.stat();
    if (size > position && size < backlogBytesMax) return position;
    if (size > position) this.#skip(size - position);
    await truncate(this.#path, 0);
    this.#position = 0;
    return 0;
  }

  async #readPosition(): Promise<number> {
    const stored = Number(await readFile(this.#positionPath, 'utf8').catch(() => '0'));
    return Number.isSafeInteger(stored) && stored >= 0 ? stored : 0;
  }

  /**
   * For whoever goes on after a crash of this process: where the first line begins that is not in the log yet. Lines
   * are in their file by then, so that after a crash some may be there twice, but none is lost.
   */
  async #storePosition(position: number): Promise<void> {
    const lineStart = Math.max(0, position - this.#partial.length - this.#partialCut);
    if (lineStart === this.#storedPosition) return;
    await this.#log.flush();
    await writeFile(this.#positionPath, String(lineStart), { mode: 0o600 });
    this.#storedPosition = lineStart;
  }

  #skip(bytes: number): void {
    this.#log.say('warn', `${bytes} bytes of output were left out: the engine writes faster than they are read.`);
    this.#partial = Buffer.alloc(0);
    this.#partialCut = 0;
  }

  #take(chunk: Buffer): void {
    let from = 0;
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, from)) {
      this.#endLine(chunk.subarray(from, end));
      from = end + 1;
    }
    this.#grow(chunk.subarray(from));
  }

  #endLine(rest: Buffer): void {
    if (this.#partial.length === 0) return this.#emit(rest);
    this.#grow(rest);
    const line = this.#partial;
    this.#partial = Buffer.alloc(0);
    this.#emit(line);
  }

  #grow(more: Buffer): void {
    if (more.length === 0) return;
    const room = Math.max(0, lineBytesMax - this.#partial.length);
    this.#partialCut += Math.max(0, more.length - room);
    if (room > 0) this.#partial = Buffer.concat([this.#partial, more.subarray(0, room)]);
  }

  #emit(line: Buffer): void {
    const cut = this.#partialCut + Math.max(0, line.length - lineBytesMax);
    this.#partialCut = 0;
    if (line.length === 0 || (line.length === 1 && line[0] === 0x0d) || !this.#log.admit()) return;
    const text = line.subarray(0, lineBytesMax).toString('utf8').trimEnd();
    if (text === '') return;
    const { time, level, message } = parseEngineLine(text);
    this.#log.write(this.#stream, level, cut > 0 ? `${message} ... (${cut} more bytes)` : message, time);
  }
}
