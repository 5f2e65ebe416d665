import type { ModelFile, ModelFormat } from './types.ts';

const pathBytesMax = 1024;
/** The usual limit of one name in ext4, APFS and NTFS. */
const segmentBytesMax = 255;
/** Names that are devices on Windows, with any extension. */
const deviceName = /^(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$)/i;
/** Control characters, what Windows refuses in names, and the marks that turn the shown order of text round. */
const forbiddenCharacter = /[\u0000-\u001f\u007f-\u009f<>:"|?*\\\u200e\u200f\u202a-\u202e\u2066-\u2069]/;

function isSafeSegment(segment: string): boolean {
  if (segment === '' || segment === '.' || segment === '..') return false;
  if (segment.endsWith('.') || segment.endsWith(' ')) return false;
  return !deviceName.test(segment) && Buffer.byteLength(segment) <= segmentBytesMax;
}

/**
 * True for a relative `/`-separated path that may be joined to a folder on any system. Names in listings come from
 * strangers: whatever is not plainly harmless is refused.
 */
export function isSafeFilePath(path: string): boolean {
  if (path === '' || Buffer.byteLength(path) > pathBytesMax) return false;
  if (!path.isWellFormed() || path !== path.normalize('NFC') || forbiddenCharacter.test(path)) return false;
  return path.split('/').every(isSafeSegment);
}

const formatByExtension: Readonly<Record<string, ModelFormat>> = {
  gguf: 'gguf',
  safetensors: 'safetensors',
  bin: 'pytorch',
  pt: 'pytorch',
  pth: 'pytorch',
  ckpt: 'pytorch',
  pkl: 'pytorch',
  onnx: 'onnx',
  onnx_data: 'onnx',
};

export function formatOfPath(path: string): ModelFormat {
  const extension = path.slice(path.lastIndexOf('.') + 1).toLowerCase();
  return Object.hasOwn(formatByExtension, extension) ? (formatByExtension[extension] ?? 'other') : 'other';
}

/** Formats of weights among the files, in a fixed order; configuration and text do not count. */
export function weightFormatsOf(files: readonly Pick<ModelFile, 'format'>[]): ModelFormat[] {
  const found = new Set(files.map(({ format }) => format));
  return (['gguf', 'safetensors', 'mlx', 'pytorch', 'onnx'] as const).filter((format) => found.has(format));
}
