import type { FileLocation } from '../../catalog/source.ts';
import { abortable } from '../../../shared/async.ts';
import { TransferFault } from './faults.ts';
import type { FileIdentity } from './sidecar.ts';

export type Locate = (signal: AbortSignal) => Promise<FileLocation>;

/** An address that ends within this is not begun with. */
const expiryMarginMs = 60_000;

/** The present address of a file: asked for once by all connections, and again when it has expired. */
export class LocatedFile {
  readonly #identity: FileIdentity;
  readonly #locate: Locate;
  readonly #nowMs: () => number;
  #asked: Promise<FileLocation> | null = null;

  constructor(identity: FileIdentity, locate: Locate, nowMs: () => number) {
    this.#identity = identity;
    this.#locate = locate;
    this.#nowMs = nowMs;
  }

  /**
   * Throws what the source throws, or a TransferFault `changed` when it speaks of other bytes than were planned. The
   * signal must be that of the whole transfer, because the answer serves all connections.
   */
  async get(signal: AbortSignal): Promise<FileLocation> {
    const asked = this.#asked ?? this.#start(signal);
    const location = await abortable(asked, signal);
    const isFresh = location.expiresAtMs === null || location.expiresAtMs - expiryMarginMs > this.#nowMs();
    if (isFresh || this.#asked !== asked) return location;
    // One that is short-lived from the start must do.
    return await abortable(this.#start(signal), signal);
  }

  /** That address is no longer honoured. */
  expire(location: FileLocation): void {
    const asked = this.#asked;
    void asked?.then((present) => {
      if (present === location && this.#asked === asked) this.#asked = null;
    }, () => undefined);
  }

  #start(signal: AbortSignal): Promise<FileLocation> {
    const asked = this.#ask(signal);
    this.#asked = asked;
    asked.catch(() => {
      if (this.#asked === asked) this.#asked = null;
    });
    return asked;
  }

  async #ask(signal: AbortSignal): Promise<FileLocation> {
    const location = await this.#locate(signal);
    assertSameFile(location, this.#identity);
    return location;
  }
}

function assertSameFile(location: FileLocation, identity: FileIdentity): void {
  if (location.sizeBytes !== null && location.sizeBytes !== identity.sizeBytes) {
    throw new TransferFault('changed', `the source speaks of ${location.sizeBytes} bytes, planned were ${identity.sizeBytes}`);
  }
  const tag = location.etag?.replace(/^sha256:/, '') ?? '';
  const promised = tag.length === 64 ? identity.sha256 : tag.length === 40 ? identity.gitSha1 : null;
  if (promised !== null && /^[0-9a-f]+$/.test(tag) && tag !== promised) throw new TransferFault('changed', `the source speaks of the file ${tag}, planned was ${promised}`);
}
