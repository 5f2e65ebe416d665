import * as z from 'zod';
import type { OwnModel } from '../../runtime.ts';

/** Names, versions and the like: longer ones are nobody's. */
const word = z.string().min(1).max(300);
const bytes = z.number().int().nonnegative();

const versionSchema = z.object({ version: z.string().max(100).regex(/^[\x20-\x7e]*$/) });
const tagSchema = z.object({ name: word, size: bytes.catch(0), details: z.object({ quantization_level: word.nullish().catch(null) }).nullish().catch(null) });
const loadedSchema = z.object({ name: word, size: bytes, size_vram: bytes.catch(0) });
const showSchema = z.object({ model_info: z.record(z.string(), z.unknown()).nullish().catch(null) });
const contextLength = z.number().int().positive();

/** A model that is in memory: its name with its tag, and how much of it is where. */
export type LoadedModel = z.infer<typeof loadedSchema>;

/** All throw a ZodError for what no Ollama server says; entries of a list that are none are left out. */
export function versionOf(answer: unknown): string {
  return versionSchema.parse(answer).version;
}

export function modelsOf(answer: unknown): OwnModel[] {
  return entriesOf(answer, tagSchema).map(({ name, size, details }) => ({ name, sizeBytes: size, quantization: details?.quantization_level ?? null }));
}

export function loadedOf(answer: unknown): LoadedModel[] {
  return entriesOf(answer, loadedSchema);
}

/** Null where the server does not tell. */
export function contextLengthOf(answer: unknown): number | null {
  const { model_info: about } = showSchema.parse(answer);
  const [, length] = Object.entries(about ?? {}).find(([key]) => key.endsWith('.context_length')) ?? [];
  return contextLength.safeParse(length).data ?? null;
}

function entriesOf<T>(answer: unknown, schema: z.ZodType<T>): T[] {
  // Older servers say null for none.
  const { models } = z.object({ models: z.array(z.unknown()).nullish() }).parse(answer);
  return (models ?? []).flatMap((entry) => {
    const parsed = schema.safeParse(entry);
    return parsed.success ? [parsed.data] : [];
  });
}
