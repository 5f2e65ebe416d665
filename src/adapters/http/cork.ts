import type { Duplex } from 'node:stream';

/**
 * Holds back what is written next until nothing is left to do in this turn of the event loop: many small messages then
 * leave in one write, as those of an HTTP response do by themselves. A write to a socket costs more than all else that
 * a message takes.
 */
export function corkForTurn(socket: Duplex): void {
  if (socket.writableCorked > 0) return;
  socket.cork();
  process.nextTick(() => socket.uncork());
}
