import type { ServerResponse } from 'node:http';

export type StallLimits = { lookEveryMs: number; stalledMsMax: number };

/** A reader that took nothing for so long is cut; it comes back and resumes from the last position that it has. */
const defaults: StallLimits = { lookEveryMs: 5_000, stalledMsMax: 45_000 };

/** Cuts a response whose reader does not read, so that its stream does not stay open for nobody. */
export function watchStall(res: ServerResponse, signal: AbortSignal, { lookEveryMs, stalledMsMax }: StallLimits = defaults): void {
  let bytesSeen = -1;
  let stalledMs = 0;
  const timer = setInterval(() => {
    const written = res.socket?.bytesWritten ?? 0;
    const waiting = res.writableLength > 0;
    // bytesWritten counts what still waits in the socket, which does not change while nothing moves.
    stalledMs = waiting && written === bytesSeen ? stalledMs + lookEveryMs : 0;
    bytesSeen = written;
    if (stalledMs >= stalledMsMax) res.destroy();
  }, lookEveryMs);
  timer.unref();
  signal.addEventListener('abort', () => clearInterval(timer), { once: true });
}
