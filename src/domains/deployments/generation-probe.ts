import type { StreamingHttp } from '../../shared/streaming-http.ts';
import type { RunningModel } from './runtime.ts';

/** Asks a running model for one token. Rejects with a sentence where it does not give one, or with the signal's reason. */
export type GenerationProbe = (model: RunningModel, signal: AbortSignal) => Promise<void>;

/** Of one token with everything around it. */
const answerBytesMax = 256 * 1024;

export function createGenerationProbe(plainHttp: StreamingHttp): GenerationProbe {
  return async ({ baseUrl, headers, model, http = plainHttp }, signal) => {
    const body = JSON.stringify({ model, messages: [{ role: 'user', content: 'Hi' }], max_tokens: 1, temperature: 0, stream: false });
    const answer = await http({ method: 'POST', url: `${baseUrl}/v1/chat/completions`, headers: { 'content-type': 'application/json', ...headers }, body }, signal);
    let bytes = 0;
    for await (const piece of answer.body) {
      bytes += piece.length;
      if (bytes > answerBytesMax) throw new Error('asked for one token it answers without end');
    }
    if (answer.status !== 200) throw new Error(`asked for one token it answered ${answer.status}`);
  };
}
