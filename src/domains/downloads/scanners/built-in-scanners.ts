import type { FileScanner } from '../file-scanner.ts';
import type { RuleId } from './rules.ts';
import type { ScanThread } from './scan-thread.ts';
import { sourceScanner } from './source-scanner.ts';

/** Goes up with every change of what a scanner finds. */
const versions: Readonly<Record<RuleId, string>> = { format: '1', gguf: '1', safetensors: '1', pickle: '1', archive: '1', template: '1' };

/** The scanners that are always there, through the same door as any other; they share one thread. */
export function createBuiltInScanners(thread: ScanThread): FileScanner[] {
  const inThread = Object.entries(versions).map(([id, version]): FileScanner => {
    // `Object.entries` forgets what the keys are.
    const rule = id as RuleId;
    return { id, version, accepts: () => true, scan: ({ path, file, sizeBytes }, signal) => thread.scan({ rule, path, file, sizeBytes }, signal) };
  });
  return [...inThread, sourceScanner];
}
