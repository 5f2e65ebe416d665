import * as z from 'zod';
import { notAnAnswer } from '../../domains/chat/generation/upstream-faults.ts';

const answer = z.looseObject({ data: z.array(z.looseObject({ embedding: z.union([z.string(), z.array(z.number())]) })) });

/** OpenAI's clients ask for base64 and read nothing else then; some engines answer with numbers all the same. */
export function toBase64Embeddings(body: Buffer): Buffer {
  const parsed = answer.safeParse(parseJson(body));
  if (!parsed.success) throw notAnAnswer();
  if (parsed.data.data.every(({ embedding }) => typeof embedding === 'string')) return body;
  const data = parsed.data.data.map((item) => ({ ...item, embedding: typeof item.embedding === 'string' ? item.embedding : encode(item.embedding) }));
  return Buffer.from(JSON.stringify({ ...parsed.data, data }), 'utf8');
}

/** 32-bit floats, lowest byte first. */
function encode(numbers: readonly number[]): string {
  const bytes = Buffer.alloc(numbers.length * 4);
  for (const [index, number] of numbers.entries()) bytes.writeFloatLE(number, index * 4);
  return bytes.toString('base64');
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    // The schema refuses undefined.
    return undefined;
  }
}
