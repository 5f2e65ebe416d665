import type { FieldFault } from '../../shared/errors.ts';

const namePattern = /^[a-z0-9][a-z0-9._-]{0,62}$/;
const lengthMax = 63;
/** Room for `-999` behind a name that is taken. */
const suffixRoom = 4;

/** Deployment names are also model ids of the OpenAI-compatible gateway, so they stay plain. */
export function nameFaults(name: string): FieldFault[] {
  if (namePattern.test(name)) return [];
  const message = 'must be 1 to 63 characters of a-z, 0-9, ".", "_" and "-", and begin with a letter or digit';
  return [{ field: 'name', message }];
}

/** A valid name made from a model's: `HuggingFaceTB/SmolLM2-135M-Instruct` gives `smollm2-135m-instruct`. */
export function nameFromModel(model: string): string {
  const last = model.slice(Math.max(model.lastIndexOf('/'), 0)).toLowerCase();
  const plain = last.replaceAll(/[^a-z0-9._-]+/g, '-').replace(/^[^a-z0-9]+/, '');
  const cut = plain.slice(0, lengthMax - suffixRoom).replace(/[^a-z0-9]+$/, '');
  return cut === '' ? 'model' : cut;
}

/** The first free one of `base`, `base-2`, `base-3` ...; `attempt` counts from 1. */
export function nthName(base: string, attempt: number): string {
  return attempt === 1 ? base : `${base}-${attempt}`;
}
