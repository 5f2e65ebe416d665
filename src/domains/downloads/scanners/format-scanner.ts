import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { GgufError } from '../../../shared/gguf/errors.ts';
import { readGgufHeader } from '../../../shared/gguf/header.ts';
import type { FileScanner, ScanFinding, ScanTarget } from '../file-scanner.ts';
import { extensionOf, isSafeFormat } from '../planning/file-formats.ts';

const headBytes = 4096;
/** Longest header of a safetensors file that its own library reads. */
const safetensorsHeaderMax = 100_000_000;

/** First bytes of what a model's data files never are. */
const foreign: readonly (readonly [string, readonly number[]])[] = [
  ['a ZIP archive', [0x50, 0x4b, 0x03, 0x04]],
  ['a ZIP archive', [0x50, 0x4b, 0x05, 0x06]],
  ['a 7z archive', [0x37, 0x7a, 0xbc, 0xaf]],
  ['a gzip archive', [0x1f, 0x8b]],
  ['an xz archive', [0xfd, 0x37, 0x7a, 0x58]],
  ['a Linux program', [0x7f, 0x45, 0x4c, 0x46]],
  ['a Windows program', [0x4d, 0x5a, 0x90]],
  ['a macOS program', [0xcf, 0xfa, 0xed, 0xfe]],
  ['a macOS program', [0xca, 0xfe, 0xba, 0xbe]],
  ['a script', [0x23, 0x21, 0x2f]],
];

const text = new Set(['json', 'jsonl', 'txt', 'md', 'jinja', 'jinja2', 'tiktoken', '']);

/**
 * Looks whether a file is what its name says: the name decides what programs do with it, and the content what happens
 * to them then.
 */
export const formatScanner: FileScanner = {
  id: 'format',
  accepts: ({ path }) => isSafeFormat(path),
  scan: async (target, signal) => {
    signal.throwIfAborted();
    const file = await open(target.file, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      return await look(file, target);
    } finally {
      await file.close();
    }
  },
};

function block(rule: string, message: string): ScanFinding[] {
  return [{ rule, severity: 'block', message }];
}

async function look(file: FileHandle, target: ScanTarget): Promise<readonly ScanFinding[]> {
  const head = await readAt(file, 0, Math.min(headBytes, target.sizeBytes));
  const kind = foreignKind(head);
  if (kind) return block('format.content', `${target.path} is ${kind} under another name.`);
  const extension = extensionOf(target.path);
  if (extension === 'gguf') return await lookAtGguf(file, target);
  if (extension === 'safetensors') return await lookAtSafetensors(file, target);
  if (text.has(extension) && head.includes(0)) return block('format.content', `${target.path} is no text.`);
  return [];
}

/** The kinds that can carry code; a pickle of protocol 2 and later says so in its first two bytes. */
function foreignKind(head: Uint8Array): string | null {
  const found = foreign.find(([, magic]) => magic.every((byte, index) => head[index] === byte));
  if (found) return found[0];
  const isPickle = head[0] === 0x80 && head[1] !== undefined && head[1] >= 2 && head[1] <= 5;
  return isPickle && head[2] !== 0 ? 'a pickle' : null;
}

async function lookAtGguf(file: FileHandle, { path, sizeBytes }: ScanTarget): Promise<readonly ScanFinding[]> {
  try {
    await readGgufHeader({ size: sizeBytes, readAt: (offset, length) => readAt(file, offset, length) });
    return [];
  } catch (error) {
    if (!(error instanceof GgufError)) throw error;
    return block('gguf.structure', `${path} is not a sound GGUF file: ${error.message}`);
  }
}

async function lookAtSafetensors(file: FileHandle, { path, sizeBytes }: ScanTarget): Promise<readonly ScanFinding[]> {
  const start = await readAt(file, 0, Math.min(9, sizeBytes));
  const length = start.length >= 9 ? Buffer.from(start).readBigUInt64LE(0) : 0n;
  const isSound = length >= 2n && length <= BigInt(safetensorsHeaderMax) && length + 8n <= BigInt(sizeBytes) && start[8] === 0x7b;
  return isSound ? [] : block('safetensors.structure', `${path} is not a sound safetensors file.`);
}

async function readAt(file: FileHandle, offset: number, length: number): Promise<Uint8Array> {
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, offset + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}
