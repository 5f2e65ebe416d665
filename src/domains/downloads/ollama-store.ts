import type { ModelRef } from '../catalog/types.ts';

/** How far one layer is; a layer that the server had already is told as whole at once. */
export type LayerProgress = { digest: string; completedBytes: number };
/** `verifying`: all bytes are there, the server compares them with their digests. */
export type PullEvent = { type: 'layer'; layer: LayerProgress } | { type: 'verifying' };

/**
 * Port: the store of an Ollama server, into which that server pulls models by itself and keeps what a broken-off pull
 * has brought. All reject with the signal's reason when it aborts, and with RUNTIME_UNAVAILABLE when the server does
 * not answer.
 */
export type OllamaStore = {
  /** What the server calls the model; null for a model that it cannot pull. */
  nameOf(model: { ref: ModelRef; quantization: string | null }): string | null;
  /**
   * Ends when the model is in the store and verified; aborting leaves what has come, and a later pull goes on from
   * there. Throws MODEL_NOT_FOUND, MODEL_GATED, UNSUPPORTED_MODEL, INSUFFICIENT_STORAGE, NETWORK_FAILED,
   * SOURCE_UNAVAILABLE.
   */
  pull(name: string, onEvent: (event: PullEvent) => void, signal: AbortSignal): Promise<void>;
  /** Bare hex SHA-256 of the manifest that the server has under that name; null when it has none. */
  digestOf(name: string, signal: AbortSignal): Promise<string | null>;
  /** One that is not there is fine. */
  remove(name: string, signal: AbortSignal): Promise<void>;
};
