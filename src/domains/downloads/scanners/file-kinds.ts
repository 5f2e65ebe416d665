/** What a file is by its first bytes, whatever its name says. */
export type FileKind = 'zip' | 'archive' | 'program' | 'script' | 'pickle' | 'npy' | 'gguf' | 'hdf5' | 'unknown';

type Magic = { kind: FileKind; label: string; at?: number; bytes: readonly number[] };

const ascii = (text: string): number[] => [...Buffer.from(text, 'latin1')];

const magics: readonly Magic[] = [
  { kind: 'zip', label: 'a ZIP archive', bytes: [0x50, 0x4b, 0x03, 0x04] },
  { kind: 'zip', label: 'a ZIP archive', bytes: [0x50, 0x4b, 0x05, 0x06] },
  { kind: 'archive', label: 'a 7z archive', bytes: [0x37, 0x7a, 0xbc, 0xaf] },
  { kind: 'archive', label: 'a gzip archive', bytes: [0x1f, 0x8b] },
  { kind: 'archive', label: 'an xz archive', bytes: [0xfd, 0x37, 0x7a, 0x58] },
  { kind: 'archive', label: 'a bzip2 archive', bytes: ascii('BZh') },
  { kind: 'archive', label: 'a Zstandard archive', bytes: [0x28, 0xb5, 0x2f, 0xfd] },
  { kind: 'archive', label: 'an LZ4 archive', bytes: [0x04, 0x22, 0x4d, 0x18] },
  { kind: 'archive', label: 'a RAR archive', bytes: ascii('Rar!') },
  { kind: 'archive', label: 'a zlib stream', bytes: [0x78, 0x01] },
  { kind: 'archive', label: 'a zlib stream', bytes: [0x78, 0x5e] },
  { kind: 'archive', label: 'a zlib stream', bytes: [0x78, 0x9c] },
  { kind: 'archive', label: 'a zlib stream', bytes: [0x78, 0xda] },
  { kind: 'archive', label: 'a tar archive', at: 257, bytes: ascii('ustar') },
  { kind: 'program', label: 'a Linux program', bytes: [0x7f, 0x45, 0x4c, 0x46] },
  { kind: 'program', label: 'a Windows program', bytes: [0x4d, 0x5a, 0x90] },
  { kind: 'program', label: 'a macOS program', bytes: [0xcf, 0xfa, 0xed, 0xfe] },
  { kind: 'program', label: 'a macOS program', bytes: [0xca, 0xfe, 0xba, 0xbe] },
  { kind: 'program', label: 'a WebAssembly program', bytes: [0x00, 0x61, 0x73, 0x6d] },
  { kind: 'script', label: 'a script', bytes: [0x23, 0x21, 0x2f] },
  { kind: 'npy', label: 'a NumPy array', bytes: [0x93, ...ascii('NUMPY')] },
  { kind: 'gguf', label: 'a GGUF file', bytes: ascii('GGUF') },
  { kind: 'hdf5', label: 'an HDF5 file', bytes: [0x89, ...ascii('HDF')] },
];

/** So many bytes from the start tell the kind. */
export const kindBytes = 512;

export function kindOf(head: Uint8Array): { kind: FileKind; label: string } {
  const found = magics.find(({ at = 0, bytes }) => bytes.every((byte, index) => head[at + index] === byte));
  if (found) return { kind: found.kind, label: found.label };
  return isPickleHead(head) ? { kind: 'pickle', label: 'a pickle' } : { kind: 'unknown', label: 'unknown' };
}

/** Protocol 2 and later begin with their number. What follows is an opcode, none of which is 0. */
function isPickleHead(head: Uint8Array): boolean {
  return head[0] === 0x80 && head[1] !== undefined && head[1] >= 2 && head[1] <= 5 && head[2] !== 0;
}
