/** A file that was fetched and compared with its checksum, and has not got its final name yet. */
export type ScanTarget = {
  /** Its name in the model. */
  path: string;
  /** Where it lies now. */
  file: string;
  sizeBytes: number;
};

export type ScanFinding = {
  /** Stable name of the rule, e.g. `format.content`. */
  rule: string;
  severity: 'warn' | 'block';
  /** One sentence for a person. */
  message: string;
};

/**
 * Plug-in port: looks into a file before any program may use it. Reads only, within bounded memory, and ends with the
 * signal's reason when it aborts. No findings means that this scanner has nothing against the file. A file that it
 * cannot make sense of is a finding, never a clean one. Calls may run side by side.
 */
export type FileScanner = {
  readonly id: string;
  accepts(target: ScanTarget): boolean;
  scan(target: ScanTarget, signal: AbortSignal): Promise<readonly ScanFinding[]>;
};
