import { GgufError } from '../../../shared/gguf/errors.ts';
import { readGgufHeader } from '../../../shared/gguf/header.ts';
import type { ScanFinding } from '../file-scanner.ts';
import type { Bytes } from './bounded-file.ts';
import { block } from './refusal.ts';
import { scanTemplate } from './template-rule.ts';

/** Every engine trusts the sizes and places in a header; those that lie are what broke engines so far. */
export async function scanGguf(path: string, bytes: Bytes): Promise<readonly ScanFinding[]> {
  try {
    const header = await readGgufHeader({ size: bytes.size, readAt: (offset, length) => Promise.resolve(bytes.readAt(offset, length)) });
    const found = header.chatTemplates.flatMap((template) => scanTemplate(template, path));
    return [...new Map(found.map((finding) => [finding.rule, finding])).values()];
  } catch (error) {
    if (!(error instanceof GgufError)) throw error;
    return [block('gguf.structure', `${path} is not a sound GGUF file: ${error.message}`)];
  }
}
