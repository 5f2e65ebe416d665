import type { LlamaEmbeddingContext } from 'node-llama-cpp';
import type { LoadedModel } from './engine.ts';
import type { EmbeddingRequest } from './embedding-request.ts';
import { RequestError } from './request-error.ts';

export type EmbeddingResult = { vectors: number[][]; promptTokens: number };

/** Of a text at once; longer ones are refused, so this much memory is the most that embeddings take. */
const contextSizeMax = 4_096;
const retryAfterSeconds = 1;

/** Makes embeddings, one text after the other, in a context of their own that is made at the first request. */
export class Embedder {
  readonly #loaded: LoadedModel;
  readonly #queueMax: number;
  #context: Promise<LlamaEmbeddingContext> | undefined;
  #asked = 0;

  constructor(loaded: LoadedModel, queueMax: number) {
    this.#loaded = loaded;
    this.#queueMax = queueMax;
  }

  /** Unit vectors in the order of the texts; throws RequestError. The signal is looked at between two texts. */
  async embed({ texts }: EmbeddingRequest, signal: AbortSignal): Promise<EmbeddingResult> {
    if (this.#asked > this.#queueMax) throw new RequestError(503, 'overloaded', 'As many requests wait already as may; try again soon.', { retryAfterSeconds });
    this.#asked += 1;
    try {
      const context = await this.#open();
      const lengths = texts.map((text) => this.#lengthOf(context, text));
      const vectors: number[][] = [];
      for (const text of texts) {
        signal.throwIfAborted();
        const { vector } = await context.getEmbeddingFor(text);
        vectors.push(toUnit(vector));
      }
      return { vectors, promptTokens: lengths.reduce((sum, length) => sum + length, 0) };
    } finally {
      this.#asked -= 1;
    }
  }

  /** All are measured before the first is read: a request is answered as a whole or not at all. */
  #lengthOf(context: LlamaEmbeddingContext, text: string): number {
    const length = context.calculateInputLength(text);
    if (length < this.#contextSize) return length;
    throw new RequestError(400, 'context_length_exceeded', `A text is ${length} tokens long; ${this.#contextSize - 1} are the most here.`, { param: 'input' });
  }

  get #contextSize(): number {
    return Math.min(this.#loaded.contextSize, this.#loaded.model.trainContextSize, contextSizeMax);
  }

  async #open(): Promise<LlamaEmbeddingContext> {
    const { model, threads } = this.#loaded;
    this.#context ??= model.createEmbeddingContext({ contextSize: this.#contextSize, batchSize: this.#contextSize, threads });
    try {
      return await this.#context;
    } catch (error) {
      // Memory may be there later.
      this.#context = undefined;
      const reason = error instanceof Error ? error.message : String(error);
      throw new RequestError(503, 'no_embeddings', `A context for embeddings cannot be made: ${reason}`, { retryAfterSeconds });
    }
  }
}

function toUnit(vector: readonly number[]): number[] {
  const length = Math.hypot(...vector);
  return length > 0 ? vector.map((value) => value / length) : [...vector];
}
