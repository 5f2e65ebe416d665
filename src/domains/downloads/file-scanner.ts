import type { FileSecurityStatus } from '../catalog/types.ts';

/** A file that was fetched and compared with its checksum, and has not got its final name yet. */
export type ScanTarget = {
  /** Its name in the model. */
  path: string;
  /** Where it lies now. */
  file: string;
  sizeBytes: number;
  /** What the source's own scan says of it; advice, not proof. Null = nothing. */
  sourceStatus: FileSecurityStatus | null;
};

/** `info` is told and changes no verdict; `not_scanned`: nobody could look into it, or into all of it. */
export const findingSeverities = ['info', 'not_scanned', 'warn', 'block'] as const;

export type ScanFinding = {
  /** Stable name of the rule, e.g. `format.content`. */
  rule: string;
  severity: (typeof findingSeverities)[number];
  /** One sentence for a person. */
  message: string;
};

/**
 * Plug-in port: looks into a file before any program may use it. Reads only, within bounded memory, and ends with the
 * signal's reason when it aborts. No findings means that this scanner has nothing against the file. A file that it
 * cannot make sense of is a finding, never a clean one. Calls may run side by side. An AppError RUNTIME_UNAVAILABLE
 * says that it cannot work at present: the download waits and asks again.
 * `test/contract/file-scanner.contract.ts` is the suite that every scanner passes.
 */
export type FileScanner = {
  readonly id: string;
  /** Changes with its rules, so that a stored verdict tells what it rests on. */
  readonly version: string;
  accepts(target: ScanTarget): boolean;
  scan(target: ScanTarget, signal: AbortSignal): Promise<readonly ScanFinding[]>;
};

/** From the least strict to the strictest. */
export const scanVerdicts = ['CLEAN', 'NOT_SCANNED', 'WARN', 'BLOCKED'] as const;
export type ScanVerdict = (typeof scanVerdicts)[number];

/** What all scanners together say of a file. */
export type ScanReport = {
  verdict: ScanVerdict;
  findings: readonly ScanFinding[];
  /** `id@version` of those that looked. */
  scanners: readonly string[];
  /** ISO 8601. */
  scannedAt: string;
};

const verdictOf: Readonly<Record<ScanFinding['severity'], ScanVerdict>> = { info: 'CLEAN', not_scanned: 'NOT_SCANNED', warn: 'WARN', block: 'BLOCKED' };

export function strictest(verdicts: readonly ScanVerdict[]): ScanVerdict {
  return scanVerdicts.findLast((verdict) => verdicts.includes(verdict)) ?? 'NOT_SCANNED';
}

/** Without a scanner that looked nothing is known, and that is not clean. */
export function verdictFrom(findings: readonly ScanFinding[], scannerCount: number): ScanVerdict {
  return scannerCount === 0 ? strictest(['NOT_SCANNED', ...findings.map(({ severity }) => verdictOf[severity])]) : strictest(['CLEAN', ...findings.map(({ severity }) => verdictOf[severity])]);
}
