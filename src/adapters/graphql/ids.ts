import { AppError, type ErrorCode } from '../../shared/errors.ts';
import { isId } from '../../shared/ids.ts';

/** The kinds of things that have an id of their own, and what a wrong one answers. */
export const idKinds = {
  DownloadTask: { code: 'DOWNLOAD_NOT_FOUND', noun: 'download' },
  InstalledModel: { code: 'NOT_FOUND', noun: 'installed model' },
  StorageJob: { code: 'NOT_FOUND', noun: 'storage job' },
  Deployment: { code: 'DEPLOYMENT_NOT_FOUND', noun: 'deployment' },
  ChatSession: { code: 'CHAT_SESSION_NOT_FOUND', noun: 'chat session' },
  ChatMessage: { code: 'CHAT_MESSAGE_NOT_FOUND', noun: 'chat message' },
  Alert: { code: 'NOT_FOUND', noun: 'alert' },
  AlertRule: { code: 'NOT_FOUND', noun: 'rule' },
  ApiKey: { code: 'NOT_FOUND', noun: 'API key' },
} as const satisfies Record<string, { code: ErrorCode; noun: string }>;

export type IdKind = keyof typeof idKinds;

/** Longest text that is looked at as an id. */
const idLengthMax = 512;

/** Null for text that is not a global id. Takes both base64 alphabets. */
export function decodeGlobalId(text: string): { typename: string; id: string } | null {
  if (text.length > idLengthMax || !/^[A-Za-z0-9+/_-]+={0,2}$/.test(text)) return null;
  const decoded = Buffer.from(text, 'base64').toString('utf8');
  const colon = decoded.indexOf(':');
  return colon > 0 ? { typename: decoded.slice(0, colon), id: decoded.slice(colon + 1) } : null;
}

export function notFound(kind: IdKind): AppError {
  const { code, noun } = idKinds[kind];
  return new AppError(code, `There is no such ${noun}.`);
}

/** The plain UUID of a global id of this kind or of a plain UUID; anything else is as good as an unknown one. */
export function toUuid(kind: IdKind, text: string): string {
  if (isId(text)) return text.toLowerCase();
  const decoded = decodeGlobalId(text);
  if (decoded?.typename === kind && isId(decoded.id)) return decoded.id.toLowerCase();
  throw notFound(kind);
}

/** A model is named by its model id or by its global id. */
export function toModelIdText(text: string): string {
  const decoded = decodeGlobalId(text);
  return decoded?.typename === 'Model' ? decoded.id : text;
}
