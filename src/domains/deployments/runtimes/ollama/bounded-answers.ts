import * as z from 'zod';

/** `whole`: one JSON of any shape. `lines`: one JSON a line, as many as the work that they tell of takes. */
export type AnswerKind = 'whole' | 'lines';

/** `/api/show` has the model's whole vocabulary in it. */
const wholeBytesMax = 32 * 1024 * 1024;
const lineBytesMax = 64 * 1024;
const faultBytesMax = 64 * 1024;
const faultLengthMax = 500;
const newline = 0x0a;

/**
 * The same answer, which fails when it grows beyond what an Ollama server sends, or where a line is no JSON: the client
 * library would hold the one in memory and print the other to the service's own output. Rejects with the server's
 * words for a refusal.
 */
export async function boundedAnswer(response: Response, kind: AnswerKind): Promise<Response> {
  if (!response.ok) throw new Error(await refusalOf(response));
  if (response.body === null) return response;
  const { status, statusText, headers } = response;
  return new Response(response.body.pipeThrough(kind === 'whole' ? counter(wholeBytesMax) : lineChecker()), { status, statusText, headers });
}

/** What the server says of why it refuses; of bounded length. */
export async function refusalOf(response: Response): Promise<string> {
  const answer = response.body === null ? '' : await new Response(response.body.pipeThrough(counter(faultBytesMax))).text().catch(() => '');
  try {
    const { error } = z.object({ error: z.string() }).parse(JSON.parse(answer));
    return error.slice(0, faultLengthMax);
  } catch {
    return `it answered with status ${response.status}`;
  }
}

function counter(bytesMax: number): TransformStream<Uint8Array, Uint8Array> {
  let left = bytesMax;
  return new TransformStream({
    transform: (chunk, controller) => {
      left -= chunk.length;
      if (left < 0) controller.error(new Error(`its answer is longer than ${bytesMax} bytes`));
      else controller.enqueue(chunk);
    },
  });
}

function lineChecker(): TransformStream<Uint8Array, Uint8Array> {
  let rest: Buffer = Buffer.alloc(0);
  return new TransformStream({
    transform: (chunk, controller) => {
      const end = chunk.lastIndexOf(newline) + 1;
      const complete = Buffer.concat([rest, chunk.subarray(0, end)]);
      rest = end === 0 ? Buffer.concat([complete, chunk]) : Buffer.from(chunk.subarray(end));
      if (rest.length > lineBytesMax) throw new Error('it sent a line without an end');
      if (end === 0) return;
      const lines = complete.toString('utf8').split('\n').filter((line) => line.trim() !== '');
      if (!lines.every(isJson)) throw new Error('it sent something that is no JSON');
      controller.enqueue(complete);
    },
    flush: (controller) => {
      if (rest.length > 0 && isJson(rest.toString('utf8'))) controller.enqueue(rest);
    },
  });
}

function isJson(text: string): boolean {
  try {
    return JSON.parse(text) !== undefined;
  } catch {
    return false;
  }
}
