import { existsSync } from 'node:fs';
import { z } from 'zod';
import { type FileScanner, findingSeverities, type ScanFinding } from '../domains/downloads/file-scanner.ts';
import { abortable } from '../shared/async.ts';
import { isAppError } from '../shared/errors.ts';
import type { Logger } from '../shared/logger.ts';

const findings = z.array(z.object({ rule: z.string().min(1).max(100), severity: z.enum(findingSeverities), message: z.string().min(1).max(1_000) })).max(1_000);

/**
 * A scanner that fails has not found a file clean: its failure blocks the file, which an ADMIN may set aside like any
 * other finding.
 */
export function guardScanner(scanner: FileScanner, logger: Logger): FileScanner {
  const { id, version } = scanner;
  const failed = (error: unknown): ScanFinding[] => {
    logger.error({ scanner: id, err: error }, 'a scanner failed in a way that its contract does not allow');
    return [{ rule: `${id.replaceAll('-', '_')}.failed`, severity: 'block', message: `The scanner ${id} failed, so nobody knows what is in the file.` }];
  };
  return {
    id,
    version,
    accepts: (target) => {
      try {
        return scanner.accepts(target);
      } catch (error) {
        logger.error({ scanner: id, err: error }, 'a scanner could not say whether it looks at a file; it is asked to');
        return true;
      }
    },
    scan: async (target, signal) => {
      signal.throwIfAborted();
      try {
        return findings.parse(await abortable(Promise.resolve(scanner.scan(target, signal)), signal));
      } catch (error) {
        signal.throwIfAborted();
        // Whoever asked knows where else the file may be by now.
        if (isAppError(error, 'RUNTIME_UNAVAILABLE') || !existsSync(target.file)) throw error;
        return failed(error);
      }
    },
  };
}
