import { join, sep } from 'node:path';

const pathBytesMax = 1024;
/** The usual limit of one name in ext4, APFS and NTFS. */
const nameBytesMax = 255;
/** Names that stand for devices on Windows, with any extension. */
const deviceName = /^(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?:\.|$)/i;
/** Control characters, what Windows refuses in names, and marks that turn the shown order of text round. */
 
const forbidden = /[\u0000-\u001f\u007f-\u009f<>:"|?*\\\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/;

function isSafeName(name: string): boolean {
  if (name === '' || name === '.' || name === '..' || name.endsWith('.') || name.endsWith(' ')) return false;
  return !deviceName.test(name) && Buffer.byteLength(name) <= nameBytesMax;
}

/** True for a relative, `/`-separated path that is plainly harmless below any folder on any system. */
export function isSafePath(path: string): boolean {
  if (path === '' || Buffer.byteLength(path) > pathBytesMax) return false;
  if (!path.isWellFormed() || path !== path.normalize('NFC') || forbidden.test(path)) return false;
  return path.split('/').every(isSafeName);
}

/**
 * The one way a name that comes from outside becomes a place on the disk. Throws for a name that is not harmless:
 * callers have checked it with `isSafePath`, so that is a defect of ours.
 */
export function safeJoin(folder: string, path: string): string {
  if (!isSafePath(path)) throw new Error('a path from outside was not checked');
  const joined = join(folder, ...path.split('/'));
  if (!joined.startsWith(folder.endsWith(sep) ? folder : folder + sep)) throw new Error('a path leaves its folder');
  return joined;
}
