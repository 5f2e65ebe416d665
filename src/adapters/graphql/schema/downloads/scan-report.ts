import type { ScanFinding as Finding, ScanReport as Report } from '../../../../domains/downloads/file-scanner.ts';
import { builder } from '../../builder.ts';
import { FindingSeverity, ScanVerdict } from './enums.ts';

const ScanFinding = builder.objectRef<Finding>('ScanFinding').implement({
  description: 'What a scanner has to say about a file.',
  fields: (t) => ({
    rule: t.exposeString('rule', { description: 'Stable name of the rule, e.g. `pickle.global`.' }),
    severity: t.expose('severity', { type: FindingSeverity, description: 'What follows from it.' }),
    message: t.exposeString('message', { description: 'One sentence for a person.' }),
  }),
});

export const ScanReport = builder.objectRef<Report>('ScanReport').implement({
  description: 'What all scanners together say of a file.',
  fields: (t) => ({
    verdict: t.expose('verdict', { type: ScanVerdict, description: 'The strictest that one of them came to.' }),
    findings: t.field({ type: [ScanFinding], description: 'What led to it; at most 50.', resolve: (report) => [...report.findings] }),
    scanners: t.field({ type: ['String'], description: 'Those that looked, as `id@version`.', resolve: (report) => [...report.scanners] }),
    scannedAt: t.field({ type: 'DateTime', description: 'When they looked.', resolve: (report) => new Date(report.scannedAt) }),
  }),
});
