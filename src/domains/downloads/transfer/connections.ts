import type { FileLocation } from '../../catalog/source.ts';
import type { Clock } from '../../../shared/clock.ts';
import { isAppError } from '../../../shared/errors.ts';
import { TransferFault } from './faults.ts';
import type { HostSlots } from './host-slots.ts';
import type { LocatedFile } from './located-file.ts';
import type { PartFile } from './part-file.ts';
import { RangeFetch, type RangeFetchDeps } from './range-fetch.ts';
import { type Backoff, backoffMs } from './retry-policy.ts';
import type { TokenBucket } from './token-bucket.ts';

export type ConnectionsDeps = RangeFetchDeps & {
  slots: HostSlots;
  /** Whom the slots are counted for. */
  owner: string;
  located: LocatedFile;
  file: PartFile;
  clock: Clock;
  backoff: Backoff;
  /** What a connection asks for at once, at most. */
  pieceBytes: number;
  /** Tries of one part that bring no byte, before the transfer gives up for now. */
  triesMax: number;
  /** How often connections are compared with each other, and how old one is before it is judged. */
  slowCheckMs: number;
};

/** A server that asks for a longer rest than this ends the attempt; the task then waits without a worker. */
const waitInPlaceMaxMs = 60_000;
/** Answers that ignore the range, before the storage is taken for one that knows no ranges. */
const rangesIgnoredMax = 2;
/** Below this share of what the others get, a connection is stuck on a bad path and another one will be quicker. */
const slowShare = 0.1;
const slowCancelsMax = 3;
/** Below this no connection of today is, unless something is wrong with it: 1 KB/s. */
const trickleBytesPerMs = 1;
const trickleChecks = 4;
const speedsKept = 32;
/** A connection that is limited below this is not worth having. */
const limitedBytesPerConnection = 512 * 1024;
const lookAgainMs = 250;
/** So many connections begin at once, and the others after a moment. */
const atOnce = 2;
const joinAfterMs = 25;
/** Until so little is left, each connection has this many pieces to come; hashing it takes some hundredths of a second. */
const lastRoundBytes = 64 * 1024 * 1024;
const roundsLeftMin = 2;
/** Key of tries that fail before a part is taken. */
const noPart = -1;

class RangesNotSupported extends Error {}

/** Fetches what is missing of one file on several connections, as long as asking again helps. */
export class Connections {
  readonly #deps: ConnectionsDeps;
  readonly #tries = new Map<number, number>();
  readonly #active = new Map<RangeFetch, number>();
  readonly #slowCancels = new Map<number, number>();
  /** Bytes per millisecond of the last ranges that came whole. */
  readonly #speeds: number[] = [];
  #rangesIgnored = 0;
  #width = 1;
  #rangesHonoured = false;
  #lastError: unknown;

  constructor(deps: ConnectionsDeps) {
    this.#deps = deps;
  }

  /** Resolves when the file is complete; rejects with the signal's reason, a TransferFault, or what disk or source throw. */
  async run(count: number, signal: AbortSignal): Promise<void> {
    this.#width = count;
    try {
      await this.#together(count, (own, place) => this.#work(place, own), signal);
    } catch (error) {
      if (!(error instanceof RangesNotSupported)) throw error;
      this.#deps.file.map.dropAfterPrefix();
      await this.#together(1, (own) => this.#workInOnePiece(own), signal);
    }
  }

  async #together(count: number, work: (signal: AbortSignal, place: number) => Promise<void>, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const controller = new AbortController();
    const onAbort = (): void => controller.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const slowCheck = setInterval(() => this.#cancelSlow(), this.#deps.slowCheckMs);
    const failures: unknown[] = [];
    const one = async (_: unknown, place: number): Promise<void> => {
      try {
        await work(controller.signal, place);
      } catch (error) {
        failures.push(error);
        controller.abort(error);
      }
    };
    try {
      await Promise.all(Array.from({ length: count }, one));
      signal.throwIfAborted();
      // The first one ended the others.
      if (failures.length > 0) throw failures[0] as Error;
    } finally {
      clearInterval(slowCheck);
      signal.removeEventListener('abort', onAbort);
    }
  }

  async #work(place: number, signal: AbortSignal): Promise<void> {
    const { map } = this.#deps.file;
    // Files that begin at the same moment get their first connections before one of them gets all there are.
    if (place >= atOnce) await this.#deps.clock.sleep(joinAfterMs, signal);
    for (let isMore = true; isMore; ) {
      // A limit of speed may come and go meanwhile.
      while (place >= connectionsUnder(this.#deps.limits) && map.hasFree) await this.#deps.clock.sleep(lookAgainMs, signal);
      isMore = await this.#turn(signal, () => {
        const part = map.take(this.#pieceParts());
        return part && { index: part.index, range: part, release: () => map.release(part) };
      });
    }
  }

  /**
   * Large pieces while there is much to do, as each begins with a wait, and smaller ones towards the end: connections
   * end together, and what they bring at the same time is what the hash, which goes by the file's order, has left then.
   */
  #pieceParts(): number {
    const { map } = this.#deps.file;
    const most = Math.max(1, Math.floor(this.#deps.pieceBytes / map.partBytes));
    const free = map.freeParts(most * this.#width * roundsLeftMin);
    const isLast = free * map.partBytes <= lastRoundBytes;
    return Math.min(most, Math.ceil(free / (isLast ? this.#width : this.#width * roundsLeftMin)));
  }

  async #workInOnePiece(signal: AbortSignal): Promise<void> {
    const { map } = this.#deps.file;
    for (let isMore = true; isMore; ) {
      isMore = await this.#turn(signal, () =>
        map.isComplete ? null : { index: 0, range: { start: map.prefixBytes, end: map.size, acceptWhole: true }, release: () => {} },
      );
    }
  }

  /** One part, or as much of it as one answer brings. False when there is none left to take. */
  async #turn(signal: AbortSignal, take: () => Piece | null): Promise<boolean> {
    const { located, slots, owner } = this.#deps;
    let index = noPart;
    let location: FileLocation | undefined;
    try {
      location = await located.get(signal);
      const release = await slots.acquire(hostOf(location), owner, signal);
      try {
        const piece = take();
        if (!piece) return false;
        index = piece.index;
        await this.#fetch(piece, location, signal);
      } finally {
        release();
      }
      this.#tries.delete(index);
      return true;
    } catch (error) {
      signal.throwIfAborted();
      const waitMs = this.#answer(error, index, location);
      if (waitMs > 0) await this.#deps.clock.sleep(waitMs, signal);
      return true;
    }
  }

  async #fetch({ index, range, release }: Piece, location: FileLocation, signal: AbortSignal): Promise<void> {
    const { onWritten } = this.#deps;
    const fetch = new RangeFetch({
      ...this.#deps,
      onWritten: (bytes) => {
        this.#rangesHonoured ||= range.acceptWhole !== true;
        this.#tries.delete(index);
        onWritten(bytes);
      },
    });
    this.#active.set(fetch, index);
    try {
      await fetch.run(range, location, signal);
      this.#noteSpeed(fetch);
    } finally {
      this.#active.delete(fetch);
      release();
    }
  }

  /** What to do about a failure: the time to wait before going on, or the failure itself when going on is no use. */
  #answer(error: unknown, index: number, location: FileLocation | undefined): number {
    if (isAppError(error)) return this.#answerSource(error, index);
    if (!(error instanceof TransferFault)) throw error;
    switch (error.kind) {
      case 'changed':
        throw error;
      case 'range_ignored':
        this.#rangesIgnored += 1;
        if (!this.#rangesHonoured && this.#rangesIgnored >= rangesIgnoredMax) throw new RangesNotSupported();
        return this.#count(error, index);
      case 'expired':
      case 'missing':
        return this.#answerAddress(error, index, location);
      case 'throttled':
        return this.#answerThrottled(error, index, location);
      case 'stalled':
      case 'slow':
        this.#count(error, index);
        return 0;
      case 'connection':
      case 'bad_answer':
        return this.#answerBroken(error, index);
    }
  }

  /** The address has run out most likely: a new one is tried at once, and only then is the refusal believed. */
  #answerAddress(error: TransferFault, index: number, location: FileLocation | undefined): number {
    if (location) this.#deps.located.expire(location);
    const isFirst = !this.#tries.has(index);
    const waitMs = this.#count(error, index);
    if (isFirst) return 0;
    if (error.kind === 'missing') throw error;
    return waitMs;
  }

  #answerThrottled(error: TransferFault, index: number, location: FileLocation | undefined): number {
    const waitMs = Math.max(error.waitMs ?? 0, this.#count(error, index));
    if ((error.waitMs ?? 0) > waitInPlaceMaxMs) throw error;
    // One that says "at once", and goes on refusing, is given more and more time all the same.
    if (location) this.#deps.slots.quiet(hostOf(location), waitMs);
    return 0;
  }

  #answerBroken(error: TransferFault, index: number): number {
    if ((error.waitMs ?? 0) > waitInPlaceMaxMs) throw error;
    return Math.max(error.waitMs ?? 0, this.#count(error, index));
  }

  /** The source could not say where the file is: one answer, however many connections asked for it. */
  #answerSource(error: Error & { code: string; retryAfterSeconds: number | undefined }, index: number): number {
    if (!isAppError(error, 'SOURCE_UNAVAILABLE', 'RATE_LIMITED', 'TIMEOUT', 'NETWORK_FAILED', 'OVERLOADED')) throw error;
    const waitMs = (error.retryAfterSeconds ?? 0) * 1000;
    if (waitMs > waitInPlaceMaxMs) throw error;
    const isNew = this.#lastError !== error;
    this.#lastError = error;
    return Math.max(waitMs, isNew ? this.#count(error, index) : this.#backoff(index));
  }

  #count(error: Error, index: number): number {
    const tries = (this.#tries.get(index) ?? 0) + 1;
    this.#tries.set(index, tries);
    if (tries >= this.#deps.triesMax) throw error;
    return this.#backoff(index);
  }

  #backoff(index: number): number {
    return backoffMs(this.#tries.get(index) ?? 1, this.#deps.backoff);
  }

  #cancelSlow(): void {
    // A limit of our own makes connections slow, and a new one would be no quicker.
    if (this.#deps.limits.some(({ bytesPerSecond }) => bytesPerSecond !== null)) return;
    const nowMs = this.#deps.clock.monotonicMs();
    const old = [...this.#active].filter(([fetch]) => nowMs - fetch.startedAtMs >= this.#deps.slowCheckMs);
    const speedOf = (fetch: RangeFetch): number => fetch.receivedBytes / (nowMs - fetch.startedAtMs);
    const speeds = [...this.#speeds, ...old.map(([fetch]) => speedOf(fetch))].sort((a, b) => a - b);
    const median = speeds[Math.floor(speeds.length / 2)] ?? 0;
    for (const [fetch, index] of old) {
      const cancels = this.#slowCancels.get(index) ?? 0;
      const isBehind = speeds.length >= 3 && speedOf(fetch) < median * slowShare;
      // Nothing to compare with: what trickles for so long is hardly the best that there is.
      const isTrickle = nowMs - fetch.startedAtMs >= trickleChecks * this.#deps.slowCheckMs && speedOf(fetch) < trickleBytesPerMs;
      if ((!isBehind && !isTrickle) || cancels >= slowCancelsMax) continue;
      this.#slowCancels.set(index, cancels + 1);
      fetch.cancel(new TransferFault('slow', isBehind ? 'far behind the other connections' : 'hardly a byte comes'));
    }
  }

  /** What a connection usually gets here: at the end of a file there may be no other one left to compare with. */
  #noteSpeed(fetch: RangeFetch): void {
    const elapsedMs = Math.max(1, this.#deps.clock.monotonicMs() - fetch.startedAtMs);
    this.#speeds.push(fetch.receivedBytes / elapsedMs);
    if (this.#speeds.length > speedsKept) this.#speeds.shift();
  }
}

/** So many connections are worth having under these limits. */
function connectionsUnder(limits: readonly TokenBucket[]): number {
  return Math.min(Infinity, ...limits.map(({ bytesPerSecond }) => (bytesPerSecond === null ? Infinity : Math.ceil(bytesPerSecond / limitedBytesPerConnection))));
}

type Piece = { index: number; range: { start: number; end: number; acceptWhole?: boolean }; release: () => void };

function hostOf(location: FileLocation): string {
  return new URL(location.url).host;
}
