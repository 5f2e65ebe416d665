import type { ScanFinding } from '../file-scanner.ts';
import { extensionOf, isSafeFormat } from '../planning/file-formats.ts';
import { scanArchive } from './archive-rule.ts';
import type { Bytes } from './bounded-file.ts';
import { kindBytes, kindOf } from './file-kinds.ts';
import { scanFormat } from './format-rule.ts';
import { scanGguf } from './gguf-rule.ts';
import { pickleExtensions } from './names.ts';
import { couldBePickle, scanNpy, scanPickle } from './pickle-rule.ts';
import { scanSafetensors } from './safetensors-rule.ts';
import { hasTemplate, scanTemplateFile } from './template-rule.ts';

type Rule = (path: string, bytes: Bytes) => readonly ScanFinding[] | Promise<readonly ScanFinding[]>;

const headOf = (bytes: Bytes): ReturnType<typeof kindOf> => kindOf(bytes.readAt(0, kindBytes));

/** The built-in scanners by their ids. Each decides by the content first and by the name second. */
export const rules = {
  format: scanFormat,
  gguf: (path, bytes) => (extensionOf(path) === 'gguf' || (headOf(bytes).kind === 'gguf' && !isSafeFormat(path)) ? scanGguf(path, bytes) : []),
  safetensors: (path, bytes) => (extensionOf(path) === 'safetensors' ? scanSafetensors(bytes) : []),
  pickle: (path, bytes) => {
    if (isSafeFormat(path)) return [];
    const { kind } = headOf(bytes);
    if (kind === 'npy') return scanNpy(bytes);
    const isNamed = kind === 'unknown' && pickleExtensions.has(extensionOf(path)) && couldBePickle(bytes);
    return kind === 'pickle' || isNamed ? scanPickle(bytes) : [];
  },
  archive: (path, bytes) => (!isSafeFormat(path) && headOf(bytes).kind === 'zip' ? scanArchive(bytes) : []),
  template: (path, bytes) => (hasTemplate(path) ? scanTemplateFile(path, bytes) : []),
} satisfies Record<string, Rule>;

export type RuleId = keyof typeof rules;
