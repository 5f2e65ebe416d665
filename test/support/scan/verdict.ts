import { type ScanFinding, type ScanVerdict, verdictFrom } from '../../../src/domains/downloads/file-scanner.ts';
import { bytesOf } from '../../../src/domains/downloads/scanners/bounded-file.ts';
import { rules } from '../../../src/domains/downloads/scanners/rules.ts';

/** What all built-in rules say of bytes under a name, without a thread in between. */
export async function scanBytes(path: string, content: Buffer | string): Promise<{ verdict: ScanVerdict; findings: readonly ScanFinding[]; rules: string[] }> {
  const bytes = bytesOf(Buffer.from(content));
  const found: ScanFinding[] = [];
  for (const rule of Object.values(rules)) found.push(...(await rule(path, bytes)));
  return { verdict: verdictFrom(found, 1), findings: found, rules: found.map(({ rule }) => rule) };
}
