import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from '../../shared/logger.ts';
import type { Principal } from '../../shared/principal.ts';

/** One request on its way through the front: already guarded, the credential already looked at. */
export type Exchange = {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** Path and query; the host part is a placeholder. */
  readonly url: URL;
  readonly requestId: string;
  /** Null when no credential was given or it is not a good one. */
  readonly principal: Principal | null;
  /** Aborts with StopReason('caller_gone') when the client leaves before the answer is complete. */
  readonly signal: AbortSignal;
  readonly logger: Logger;
};

/** Serves an exchange and has ended (or is streaming) the response when it resolves; may throw AppError. */
export type ExchangeHandler = (exchange: Exchange) => Promise<void>;
