import type { AlertNotice } from '../../src/domains/system/alerts/alert-channel.ts';
import { newId } from '../../src/shared/ids.ts';

/** One that a channel may be given. */
export function alertNotice(change: Partial<AlertNotice> = {}): AlertNotice {
  return {
    deliveryId: newId(),
    event: 'raised',
    alertId: newId(),
    rule: { id: newId(), name: 'Models volume nearly full' },
    metric: 'disk_free_percent',
    severity: 'warning',
    target: { kind: 'volume', id: '/models', name: 'models volume /models', host: 'here' },
    message: 'The models volume /models: free 4 %, below 5 %.',
    value: 4,
    comparison: 'below',
    threshold: 5,
    raisedAt: new Date('2026-01-01T00:00:00.000Z'),
    resolvedAt: null,
    resolvedReason: null,
    ...change,
  };
}
