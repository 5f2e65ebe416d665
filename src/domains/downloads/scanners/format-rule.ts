import type { ScanFinding } from '../file-scanner.ts';
import { extensionOf, isSafeFormat } from '../planning/file-formats.ts';
import type { Bytes } from './bounded-file.ts';
import { type FileKind, kindBytes, kindOf } from './file-kinds.ts';
import { codeExtensions, pickleExtensions, textExtensions } from './names.ts';
import { couldBePickle, isPickleInText } from './pickle-rule.ts';
import { block } from './refusal.ts';

const headBytes = 4096;

/**
 * Whether a file is what its name says: the name decides what programs do with it, and the content what happens to
 * them then. A list of what is known; the rest counts as not looked at.
 */
export function scanFormat(path: string, bytes: Bytes): readonly ScanFinding[] {
  const head = bytes.readAt(0, Math.max(headBytes, kindBytes));
  const { kind, label } = kindOf(head);
  return isSafeFormat(path) ? scanSafeName(path, { kind, label, head }, bytes) : scanOtherName(path, { kind, label }, bytes);
}

type Content = { kind: FileKind; label: string; head: Buffer };

/** Kinds that can carry code. A text may begin like a zlib stream, so that one is left to the texts' own check. */
const carriers: readonly FileKind[] = ['zip', 'archive', 'program', 'script', 'pickle', 'npy', 'hdf5'];

function scanSafeName(path: string, { kind, label, head }: Content, bytes: Bytes): readonly ScanFinding[] {
  const extension = extensionOf(path);
  const isText = textExtensions.has(extension);
  if (carriers.includes(kind) && !(isText && label === 'a zlib stream')) return [block('format.content', `${path} is ${label} under another name.`)];
  if (extension === 'gguf' || extension === 'safetensors') return [];
  if (isText) return scanText(path, head, bytes);
  // A SentencePiece model: its first field is the first piece.
  return head.length > 0 && head[0] !== 0x0a ? [block('format.content', `${path} is no tokenizer model.`)] : [];
}

function scanText(path: string, head: Buffer, bytes: Bytes): readonly ScanFinding[] {
  if (head.includes(0)) return [block('format.content', `${path} is no text.`)];
  if (isPickleInText(bytes)) return [block('format.content', `${path} is a pickle under another name.`)];
  const isJson = extensionOf(path) === 'json';
  const first = head.toString('utf8').replace(/^\uFEFF/, '').trimStart()[0] ?? '{';
  return isJson && !/[[{"\-0-9tfn]/.test(first) ? [{ rule: 'format.json', severity: 'warn', message: `${path} is no JSON.` }] : [];
}

/** Such a file is here because an administrator wanted it; what it is has to be said all the same. */
function scanOtherName(path: string, { kind, label }: { kind: FileKind; label: string }, bytes: Bytes): readonly ScanFinding[] {
  if (kind === 'archive') return [block('archive.unsupported', `${path} is ${label}, into which nobody here can look.`)];
  if (kind === 'zip' || kind === 'npy' || kind === 'pickle' || kind === 'gguf') return [];
  const extension = extensionOf(path);
  if (kind === 'program' && !codeExtensions.has(extension)) return [block('format.content', `${path} is ${label} under another name.`)];
  if (kind === 'program' || kind === 'script' || codeExtensions.has(extension)) return [{ rule: 'format.code', severity: 'warn', message: `${path} is a program or a script.` }];
  if (pickleExtensions.has(extension) && couldBePickle(bytes)) return [];
  return [{ rule: 'format.unknown', severity: 'not_scanned', message: `${path} is of a format that is not known here.` }];
}
