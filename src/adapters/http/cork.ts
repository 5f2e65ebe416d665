import type { Duplex } from 'node:stream';

/** Of this turn. */
let corked: Duplex[] = [];

function uncorkAll(): void {
  const sockets = corked;
  corked = [];
  for (const socket of sockets) socket.uncork();
}

/**
 * Holds back what is written next until everything that came in this turn of the event loop has been dealt with: many
 * small messages of a socket leave in one write, which costs more than all else that a message takes, and those of many
 * sockets leave together, so that a reader of several is woken once.
 */
export function corkForTurn(socket: Duplex): void {
  if (socket.writableCorked > 0) return;
  socket.cork();
  if (corked.push(socket) === 1) setImmediate(uncorkAll);
}
