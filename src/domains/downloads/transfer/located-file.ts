import type { FileLocation } from '../../catalog/source.ts';
import { abortable } from '../../../shared/async.ts';
import { TransferFault } from './faults.ts';
import type { FileIdentity } from './sidecar.ts';

type Answer = { location: FileLocation; freshUntilMs: number };

export type Locate = (signal: AbortSignal) => Promise<FileLocation>;

/** An address that ends within this is not begun with. */
const expiryMarginMs = 60_000;

/** The present address of a file: asked for once by all connections, and again when it has expired. */
export class LocatedFile {
  readonly #identity: FileIdentity;
  readonly #locate: Locate;
  readonly #nowMs: () => number;
  #asked: Promise<Answer> | null = null;

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
    const { location, freshUntilMs } = await abortable(asked, signal);
    if (freshUntilMs > this.#nowMs() || this.#asked !== asked) return location;
    return (await abortable(this.#start(signal), signal)).location;
  }

  /** That address is no longer honoured. */
  expire(location: FileLocation): void {
    const asked = this.#asked;
    void asked?.then((present) => {
      if (present.location === location && this.#asked === asked) this.#asked = null;
    }, () => undefined);
  }

  #start(signal: AbortSignal): Promise<Answer> {
    const asked = this.#ask(signal);
    this.#asked = asked;
    asked.catch(() => {
      if (this.#asked === asked) this.#asked = null;
    });
    return asked;
  }

  async #ask(signal: AbortSignal): Promise<Answer> {
    const location = await this.#locate(signal);
    assertSameFile(location, this.#identity);
    const freshUntilMs = (location.expiresAtMs ?? Infinity) - expiryMarginMs;
    // One that looks old on its arrival is short-lived, or our clock is wrong: it is used until it is refused.
    return { location, freshUntilMs: freshUntilMs > this.#nowMs() ? freshUntilMs : Infinity };
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
