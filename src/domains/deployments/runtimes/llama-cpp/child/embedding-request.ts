import { z } from 'zod';
import type { EmbeddingResult } from './embedder.ts';
import { parse } from './requests.ts';
import { RequestError } from './request-error.ts';

export type EmbeddingRequest = { texts: readonly string[]; isBase64: boolean };

const text = z.string().min(1);
const embeddingBody = z.object({
  // Numbers of tokens mean something in one vocabulary only; a client that sends them has another one's.
  input: z.union([text, z.array(text).min(1).max(2_048)], { error: 'must be a text or a list of texts; numbers of tokens are not taken' }),
  encoding_format: z.enum(['float', 'base64']).nullish(),
  dimensions: z.number().nullish(),
});

export function parseEmbeddingRequest(body: unknown): EmbeddingRequest {
  const { input, encoding_format: format, dimensions } = parse(embeddingBody, body);
  if (typeof dimensions === 'number') throw new RequestError(400, 'unsupported_parameter', 'dimensions: this engine does not support it.', { param: 'dimensions' });
  return { texts: typeof input === 'string' ? [input] : input, isBase64: format === 'base64' };
}

export function toEmbeddingAnswer({ vectors, promptTokens }: EmbeddingResult, { isBase64 }: EmbeddingRequest, model: string): object {
  const data = vectors.map((vector, index) => ({ object: 'embedding', index, embedding: isBase64 ? toBase64(vector) : vector }));
  return { object: 'list', model, data, usage: { prompt_tokens: promptTokens, total_tokens: promptTokens } };
}

/** 32-bit floats, lowest byte first. */
function toBase64(vector: readonly number[]): string {
  const bytes = Buffer.alloc(vector.length * 4);
  for (const [index, value] of vector.entries()) bytes.writeFloatLE(value, index * 4);
  return bytes.toString('base64');
}
