import type { FileSecurityStatus } from '../../catalog/types.ts';
import type { FileScanner, ScanFinding } from '../file-scanner.ts';

const severityOf: Readonly<Partial<Record<FileSecurityStatus, ScanFinding['severity']>>> = { caution: 'warn', suspicious: 'block', unsafe: 'block' };

/** What the source's own scan says. That it says nothing, or nothing yet, is no reason against a file. */
export const sourceScanner: FileScanner = {
  id: 'source',
  version: '1',
  accepts: ({ sourceStatus }) => sourceStatus !== null && severityOf[sourceStatus] !== undefined,
  scan: ({ path, sourceStatus }) => {
    const severity = sourceStatus === null ? undefined : severityOf[sourceStatus];
    return Promise.resolve(severity === undefined ? [] : [{ rule: 'source.status', severity, message: `The source itself marks ${path} as ${sourceStatus ?? ''}.` }]);
  },
};
