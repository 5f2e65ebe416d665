import { createHash, randomInt, timingSafeEqual } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { credentialLengthMax } from '../../shared/operator-key.ts';

/**
 * `llmm_<8 id>_<43 secret><6 checksum>`, all base62: a double click selects the whole key, no character needs
 * escaping anywhere, and 62^43 is just above 2^256. The checksum lets typos and secret scanners' false alarms be
 * told apart without asking the database; it protects nothing.
 */
const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const idLength = 8;
const secretLength = 43;
const checksumLength = 6;
const keyPattern = /^(llmm_[0-9A-Za-z]{8})_[0-9A-Za-z]{49}$/;


export type ParsedKey = { prefix: string };

export function makeKey(): string {
  const body = `llmm_${randomText(idLength)}_${randomText(secretLength)}`;
  return body + checksumOf(body);
}

/** Null for any text that `makeKey` cannot have made. */
export function parseKey(text: string): ParsedKey | null {
  if (text.length > credentialLengthMax) return null;
  const prefix = keyPattern.exec(text)?.[1];
  if (prefix === undefined) return null;
  const body = text.slice(0, -checksumLength);
  return checksumOf(body) === text.slice(-checksumLength) ? { prefix } : null;
}

/** Hex SHA-256: 256 random bits need no slow hash. */
export function hashKey(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex');
}

/** Compares two hex SHA-256 digests in constant time. */
export function sameHash(left: string, right: string): boolean {
  return timingSafeEqual(Buffer.from(left, 'hex'), Buffer.from(right, 'hex'));
}

/** An operator's key has no public part of its own; a part of its hash, hashed again, stands in for it. */
export function operatorPrefix(hash: string): string {
  return `${operatorPrefixStart}${hashKey(`prefix:${hash}`).slice(0, idLength)}`;
}

export const operatorPrefixStart = 'env_';

function randomText(length: number): string {
  return Array.from({ length }, () => alphabet.charAt(randomInt(alphabet.length))).join('');
}

function checksumOf(body: string): string {
  let rest = crc32(body);
  let text = '';
  for (let position = 0; position < checksumLength; position += 1) {
    text = alphabet.charAt(rest % alphabet.length) + text;
    rest = Math.floor(rest / alphabet.length);
  }
  return text;
}
