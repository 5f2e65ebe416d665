/** Thread in which files of strangers are looked at: whatever they do to a reader, they do it here. */
import { parentPort } from 'node:worker_threads';
import type { ScanFinding } from '../file-scanner.ts';
import { openBounded } from './bounded-file.ts';
import { type RuleId, rules } from './rules.ts';

export type ScanJob = { rule: RuleId; path: string; file: string; sizeBytes: number };
export type ScanOutcome = { findings: readonly ScanFinding[] } | { error: string; code: string | null };

async function look({ rule, path, file, sizeBytes }: ScanJob): Promise<ScanOutcome> {
  try {
    const bytes = openBounded(file);
    try {
      if (bytes.size !== sizeBytes) return { error: `the file has ${bytes.size} bytes in place of ${sizeBytes}`, code: null };
      return { findings: await rules[rule](path, bytes) };
    } finally {
      bytes.close();
    }
  } catch (error) {
    const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null;
    return { error: error instanceof Error ? error.message : String(error), code };
  }
}

parentPort?.on('message', (job: ScanJob) => {
  void look(job).then((outcome) => parentPort?.postMessage(outcome));
});
