/** A request to an inference server, whose answer comes piece by piece. */
export type StreamingRequest = {
  method: 'POST';
  url: string;
  headers: Readonly<Record<string, string>>;
  body: string;
};

export type StreamingResponse = {
  status: number;
  /** Names in lower case; repeated ones joined with `, `. */
  headers: Readonly<Record<string, string>>;
  /** As it comes; read once. Leaving it closes the connection. Best read as a `PushStream`. */
  body: AsyncIterable<Uint8Array>;
};

/**
 * Resolves with any status once the headers are there; redirects are not followed. Whoever calls ends it: by reading
 * the body to its end, by leaving it, or by the signal, which closes the connection at any moment. Rejects, as does
 * the body, with the signal's reason when it aborts, else with an AppError NETWORK_FAILED. Has no time limit of its
 * own and never retries.
 */
export type StreamingHttp = (request: StreamingRequest, signal: AbortSignal) => Promise<StreamingResponse>;
