import { inflateRawSync } from 'node:zlib';
import type { ScanFinding } from '../file-scanner.ts';
import { extensionOf } from '../planning/file-formats.ts';
import { isSafePath } from '../storage/safe-path.ts';
import { type Bytes, bytesOf, sliceOf } from './bounded-file.ts';
import { kindBytes, kindOf } from './file-kinds.ts';
import { pickleExtensions } from './names.ts';
import { scanNpy, scanPickle } from './pickle-rule.ts';
import { block, findings, quoted, ScanRefusal } from './refusal.ts';
import { readZip, type ZipEntry } from './zip-directory.ts';

/** Bytes of tensors, which no program reads as anything else, and the small facts that PyTorch puts beside them. */
const plainMember = /(?:^|\/)(?:data\/\d+|constants\/\d+|version|byteorder|\.data\/serialization_id|\.format_version|\.storage_alignment)$/;
const textMember = /\.(?:json|txt|md)$/i;
const codeMember = /\.(?:py|pyc|pyd|so|dll|dylib|sh)$/i;
const ratioMax = 100;
const unpackedBytesMax = 64 * 1024 * 1024;
const stored = 0;
const deflated = 8;

/** Looks into the members of a ZIP archive, as PyTorch, NumPy and Keras make them. Only what must be is unpacked, into memory. */
export function scanArchive(bytes: Bytes): readonly ScanFinding[] {
  return findings(() => {
    const entries = readZip(bytes);
    assertNames(entries);
    const unpacked = entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    if (unpacked > ratioMax * bytes.size) throw new ScanRefusal('archive.ratio', 'The archive would grow to more than a hundred times its size.');
    return distinct(entries.flatMap((entry) => scanMember(bytes, entry)));
  });
}

function assertNames(entries: readonly ZipEntry[]): void {
  const names = entries.map(({ name }) => name.replace(/\/$/, ''));
  const hostile = names.find((name) => !isSafePath(name));
  if (hostile !== undefined) throw new ScanRefusal('archive.name', `The archive has an entry with the name ${quoted(hostile)}.`);
  if (new Set(names.map((name) => name.toLowerCase())).size !== names.length) throw new ScanRefusal('archive.name', 'The archive has two entries of one name.');
}

function scanMember(bytes: Bytes, entry: ZipEntry): readonly ScanFinding[] {
  const { name, method, sizeBytes, compressedBytes } = entry;
  if (method !== stored && method !== deflated) return [block('archive.method', `The archive packs ${quoted(name)} in a way that is not known here.`)];
  if (method === stored && sizeBytes !== compressedBytes) throw new ScanRefusal('archive.structure', 'An entry of the archive has two sizes.');
  if (sizeBytes === 0) return [];
  if (method === stored) return lookAt(name, sliceOf(bytes, entry.dataOffset, sizeBytes));
  if (sizeBytes > unpackedBytesMax) return [block('scan.limits', `${quoted(name)} in the archive is too large to be unpacked.`)];
  return lookAt(name, bytesOf(unpack(bytes, entry)));
}

function unpack(bytes: Bytes, { name, dataOffset, compressedBytes, sizeBytes }: ZipEntry): Buffer {
  try {
    const unpacked = inflateRawSync(bytes.readAt(dataOffset, Math.min(compressedBytes, unpackedBytesMax)), { maxOutputLength: sizeBytes });
    if (unpacked.length === sizeBytes) return unpacked;
  } catch {
    // Refused below, as one that has another size than it says.
  }
  throw new ScanRefusal('archive.structure', `${quoted(name)} in the archive cannot be unpacked.`);
}

function lookAt(name: string, member: Bytes): readonly ScanFinding[] {
  const { kind, label } = kindOf(member.readAt(0, kindBytes));
  const isPickle = pickleExtensions.has(extensionOf(name));
  // Bytes of tensors look like anything now and then, and are read as nothing but numbers.
  if (plainMember.test(name) && !isPickle) return [];
  // The content before the name: an archive that is called a pickle is told as what it is.
  if (kind === 'zip' || kind === 'archive') return [block('archive.nested', `The archive has ${label} in it.`)];
  if (isPickle || kind === 'pickle') return scanPickle(member);
  if (kind === 'npy') return scanNpy(member);
  if (kind === 'program') return [block('archive.program', `The archive has ${label} in it.`)];
  if (kind === 'script' || codeMember.test(name)) return [{ rule: 'archive.code', severity: 'warn', message: 'The archive has code in it.' }];
  if (textMember.test(name)) return [];
  return [{ rule: 'archive.member', severity: 'not_scanned', message: `The archive has ${quoted(name)} in it, of a format that is not known here.` }];
}

/** One finding of a rule tells enough; an archive may have thousands of members. */
function distinct(found: readonly ScanFinding[]): ScanFinding[] {
  return [...new Map(found.map((finding) => [finding.rule, finding])).values()];
}
