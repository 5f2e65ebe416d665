import type { RequestLimiter } from '../../shared/key-limits.ts';
import type { Logger } from '../../shared/logger.ts';
import type { Graphql } from '../graphql/create-graphql.ts';
import { createExecutor } from '../graphql/executor.ts';
import type { OnRevoked } from '../http/key-watch.ts';
import type { Authenticate } from '../http/origin.ts';
import type { UpgradeMount } from '../server.ts';
import { createSocketAcceptor } from './accept.ts';
import { chatStreamSocket } from './chat-stream.ts';
import { downloadProgressSocket } from './download-progress.ts';

export type SocketsOptions = {
  /** Runs the operation documents. */
  graphql: Pick<Graphql, 'execute' | 'subscribe'>;
  authenticate: Authenticate;
  limiter: RequestLimiter;
  onRevoked: OnRevoked;
  logger: Logger;
  /** A client that takes nothing for so long is cut. */
  stalledMsMax?: number;
};

export type Sockets = { upgrades: readonly UpgradeMount[]; /** Tells every client to come back later. */ close(): void };

/** `/ws/download-progress` and `/ws/chat/stream`. */
export function createSockets({ graphql, ...options }: SocketsOptions): Sockets {
  const executor = createExecutor(graphql);
  const acceptor = createSocketAcceptor({ ...options, routes: [downloadProgressSocket(executor), chatStreamSocket(executor)] });
  return { upgrades: [{ prefix: '/ws', handle: acceptor.handle }], close: () => acceptor.close() };
}
