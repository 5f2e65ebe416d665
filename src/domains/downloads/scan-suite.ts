import type { Clock } from '../../shared/clock.ts';
import { isAppError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/logger.ts';
import { type FileScanner, type ScanFinding, type ScanReport, type ScanTarget, verdictFrom } from './file-scanner.ts';

export type ScanSuiteOptions = { scanners: readonly FileScanner[]; clock: Clock; logger: Logger };

/** More would only repeat what is known. */
const findingsMax = 50;

/** All scanners together: what they find of a file, and the strictest verdict of it. */
export class ScanSuite {
  readonly #options: ScanSuiteOptions;

  constructor(options: ScanSuiteOptions) {
    this.#options = options;
  }

  /**
   * Throws RUNTIME_UNAVAILABLE when a scanner cannot work at present, unless the scan `isSetAside`; what the file system
   * throws when the file is not there; the signal's reason.
   */
  async report(target: ScanTarget, { isSetAside }: { isSetAside: boolean }, signal: AbortSignal): Promise<ScanReport> {
    const { scanners, clock, logger } = this.#options;
    const findings: ScanFinding[] = [];
    const looked: string[] = [];
    for (const scanner of scanners.filter((candidate) => candidate.accepts(target))) {
      try {
        findings.push(...(await scanner.scan(target, signal)));
        looked.push(`${scanner.id}@${scanner.version}`);
      } catch (error) {
        if (!isSetAside || !isAppError(error, 'RUNTIME_UNAVAILABLE')) throw error;
        logger.warn({ scanner: scanner.id, path: target.path, error }, 'a scanner could not work; an administrator has set the scan aside');
        findings.push({ rule: `${scanner.id}.unavailable`, severity: 'not_scanned', message: error.message });
      }
    }
    const verdict = verdictFrom(findings, looked.length);
    return { verdict, findings: findings.slice(0, findingsMax), scanners: looked, scannedAt: clock.now().toISOString() };
  }
}
