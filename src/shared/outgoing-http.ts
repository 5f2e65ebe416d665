/**
 * A small request to another host: whole answers, never streams. Implemented in `infrastructure/http`, which guards
 * addresses and time-outs; domains get it as a function, so that they need no client of their own.
 */
export type OutgoingRequest = {
  method: 'GET' | 'HEAD' | 'POST';
  url: string;
  /** Sent to this URL only: redirects are not followed, so a credential never travels to another host by itself. */
  headers?: Readonly<Record<string, string>>;
  body?: string | Uint8Array;
  /** Longest body, counted after decompression. */
  maxBytes: number;
  /** What a longer body does: fail with PAYLOAD_TOO_LARGE (default), or end there with the connection closed. */
  overflow?: 'fail' | 'truncate';
  /** May the host be a private or loopback address: only true for addresses that the operator has configured. */
  allowPrivate: boolean;
};

export type OutgoingResponse = {
  status: number;
  /** Names in lower case; repeated ones joined with `, `. */
  headers: Readonly<Record<string, string>>;
  body: Uint8Array;
};

/**
 * Resolves with any status, redirects included. Rejects with the signal's reason when it aborts, else with an
 * AppError: NETWORK_FAILED (no or broken answer, refused address), TIMEOUT, PAYLOAD_TOO_LARGE. Never retries.
 */
export type OutgoingHttp = (request: OutgoingRequest, signal: AbortSignal) => Promise<OutgoingResponse>;
