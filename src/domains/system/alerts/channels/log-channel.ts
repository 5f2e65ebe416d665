import type { Logger } from '../../../../shared/logger.ts';
import type { AlertChannel } from '../alert-channel.ts';
import type { AlertSeverity } from '../types.ts';

const levels = { info: 'info', warning: 'warn', critical: 'error' } as const satisfies Record<AlertSeverity, keyof Logger>;

/** One line of the service's own log for each. */
export function createLogChannel(logger: Logger): AlertChannel {
  return {
    id: 'log',
    name: "The service's log",
    deliver: (alert, signal) => {
      if (signal.aborted) return Promise.reject(signal.reason as Error);
      const { deliveryId, alertId, event, severity, metric, target, rule, message } = alert;
      const fields = { deliveryId, alertId, severity, metric, target: target.id, host: target.host, rule: rule.name };
      if (event === 'raised') logger[levels[severity]](fields, `alert: ${message}`);
      else logger.info({ ...fields, reason: alert.resolvedReason }, `alert is over: ${message}`);
      return Promise.resolve();
    },
  };
}
