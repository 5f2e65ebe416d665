import * as z from 'zod';
import { engineFailureCodes, type FromEngine } from './protocol.ts';

const count = z.int().nonnegative();
const wordsMax = 4_000;

/** A model file that takes an engine over can have it say anything; its port becomes part of an address. */
const messageSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('loading'), progress: z.number().min(0).max(1) }),
  z.object({
    type: z.literal('ready'), pid: count, port: z.int().min(1).max(65_535), contextSize: z.int().positive(), trainContextSize: count, parallel: z.int().positive(), threads: count,
    gpu: z.union([z.string().max(100), z.literal(false)]), gpuLayers: count,
  }),
  z.object({ type: z.literal('failed'), code: z.enum(engineFailureCodes), message: z.string().transform((text) => text.slice(0, wordsMax)) }),
]);

/** Null for what no engine of ours says. */
export function readMessage(message: unknown): FromEngine | null {
  return messageSchema.safeParse(message).data ?? null;
}
