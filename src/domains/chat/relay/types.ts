import type { Principal } from '../../../shared/principal.ts';
import type { ChatParameters } from '../types.ts';

export const relayRoutes = ['/v1/chat/completions', '/v1/completions', '/v1/embeddings'] as const;
export type RelayRoute = (typeof relayRoutes)[number];

/** A request in OpenAI's words for one deployment. */
export type RelayRequest = {
  /** Name of the deployment. */
  model: string;
  route: RelayRoute;
  /** Fields that may reach an engine; `model` is set to the engine's own name. */
  body: Readonly<Record<string, unknown>>;
  isStream: boolean;
  /** Null: nothing of it is kept. */
  record: RecordRequest | null;
};

/** Where a completion is kept beside being answered. */
export type RecordRequest = {
  /** Null: a new session. */
  sessionId: string | null;
  /** The last message of the request, as text. */
  question: string;
  /** For a new session. */
  systemPrompt: string | null;
  parameters: ChatParameters;
};

export type RelayHead = {
  contentType: string;
  sessionId: string | null;
  /** Of an answer in one piece, when the engine told. */
  bytes: number | null;
};

/** Where the engine's answer goes. */
export type RelaySink = {
  /** Once, before the first byte. */
  begin(head: RelayHead): void;
  /** Nothing when there is room for more, else resolves when there is; rejects when the reader has gone. */
  write(bytes: Uint8Array): Promise<void> | undefined;
};

export type Relays = {
  /**
   * Asks the deployment, starting to pass its answer on as it comes, byte for byte; events of a stream are never cut
   * in two. Resolves when the answer is complete. Throws DEPLOYMENT_NOT_FOUND, INVALID_STATE, RUNTIME_UNAVAILABLE,
   * OVERLOADED, CONTEXT_EXCEEDED, VALIDATION_FAILED (what the engine refuses), CHAT_SESSION_NOT_FOUND, INTERRUPTED,
   * TIMEOUT: before `begin` as a refusal, after it because the rest will not come. Nobody reads on when the signal
   * aborts: the engine is let go at once.
   */
  relay(request: RelayRequest, sink: RelaySink, principal: Principal, signal: AbortSignal): Promise<void>;
};
