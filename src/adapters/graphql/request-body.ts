import { validationFailed } from '../../shared/errors.ts';
import { hasRole } from '../../shared/principal.ts';
import { BodyBudget } from '../http/body-budget.ts';
import { assertJsonBody, bodyBytesMax, bodyTooLarge, parseJsonObject, readBody } from '../http/body.ts';
import type { Exchange } from '../http/exchange.ts';

/** A file of 32 MiB, the most that is exported and imported, with what its quotes and lines are escaped by. */
const importBytesMax = 40 * 1024 * 1024;
const importPattern = /\bimportChatSession\b/;

const budget = new BodyBudget({ bytesMax: importBytesMax, heldBytesMax: 2 * importBytesMax, smallBytes: bodyBytesMax });

/**
 * The body of a POST, counted and in UTF-8. Only `importChatSession` takes a long one, from a key that may import.
 * Throws UNSUPPORTED_MEDIA_TYPE, PAYLOAD_TOO_LARGE, OVERLOADED, VALIDATION_FAILED. Whoever has answered calls `giveBack`.
 */
export async function readRequestBody({ req, principal, signal }: Exchange): Promise<{ body: Record<string, unknown>; giveBack: () => void }> {
  assertJsonBody(req);
  const mayImport = principal !== null && hasRole(principal, 'USER');
  const isLong = Number(req.headers['content-length'] ?? 0) > bodyBytesMax;
  const giveBack = mayImport && isLong ? budget.take(req) : (): void => undefined;
  try {
    const bytes = await readBody(req, signal, mayImport && isLong ? importBytesMax : bodyBytesMax);
    const body = parseJsonObject(bytes);
    const { query } = body;
    if (isLong && !(typeof query === 'string' && query.length <= bodyBytesMax && importPattern.test(query))) throw bodyTooLarge(bodyBytesMax);
    // Yoga would take an empty object for a body that has not been read yet.
    if (Object.keys(body).length === 0) throw validationFailed([{ field: 'query', message: 'is required' }]);
    return { body, giveBack };
  } catch (error) {
    giveBack();
    throw error;
  }
}
