import { modelIdOf, parseOwnModelRef } from '../../../../domains/catalog/model-ref.ts';

/** Rows hold the canonical id, without revision; callers may write it in other ways. */
export function canonicalModelId(text: string): string {
  return modelIdOf(parseOwnModelRef(text));
}
