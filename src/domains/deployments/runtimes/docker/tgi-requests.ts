import type { StreamingHttp } from '../../../../shared/streaming-http.ts';

/** What comes nearest to "only the likeliest": it refuses 0 itself. */
const topPMin = 0.000_001;

/**
 * Requests in OpenAI's words as Text Generation Inference takes them. For it `top_p` lies between 0 and 1, both
 * excluded, and 1, which means "from all tokens" elsewhere, is said by leaving it out.
 */
export function createTgiChat(http: StreamingHttp): StreamingHttp {
  return async (request, signal) => await http({ ...request, body: toTgiBody(request.body) }, signal);
}

/** What needs no change stays byte for byte as it is. */
export function toTgiBody(body: string): string {
  if (!body.includes('"top_p"')) return body;
  const { top_p: topP, ...rest } = JSON.parse(body) as Record<string, unknown>;
  if (typeof topP !== 'number' || (topP > 0 && topP < 1)) return body;
  return JSON.stringify(topP >= 1 ? rest : { ...rest, top_p: topPMin });
}
