import type { AlertComparison, AlertMetric } from './alert-metrics.ts';
import type { AlertEvent, AlertSeverity, AlertTarget, ResolveReason } from './types.ts';

/** What is told of an alert: that it was raised, or that it is over. */
export type AlertNotice = {
  /** The same in every attempt to deliver this notice, and of no other: what a receiver knows repetitions by. */
  deliveryId: string;
  event: AlertEvent;
  alertId: string;
  rule: { id: string; name: string };
  metric: AlertMetric;
  severity: AlertSeverity;
  target: AlertTarget;
  /** One sentence for a person. */
  message: string;
  /** What was measured when it was raised, in the unit that ends the metric's name; null for states. */
  value: number | null;
  comparison: AlertComparison | null;
  threshold: number | null;
  raisedAt: Date;
  /** Null until it is over. */
  resolvedAt: Date | null;
  resolvedReason: ResolveReason | null;
};

/**
 * Takes alerts to where somebody sees them. Built-in: `log`, `webhook`; plug-ins bring others.
 *
 * `deliver` resolves once the notice is where it should be, and rejects otherwise, with an error whose message may be
 * shown to people: it names no secret. It is called at least once for each notice, also after a crash between the
 * delivery and its being noted, so the same `deliveryId` may come again. A rejection is tried again, later and later,
 * seven times in all within about an hour and a half. It ends with the signal's reason once that aborts, which is after
 * 15 s at the latest. One notice is delivered at a time by each service process; `raised` and `resolved` of one alert
 * may overtake each other. Closing what it holds is the business of whoever made it.
 */
export type AlertChannel = {
  /** `a-z`, digits and `-`, at most 32: rules name it by this. */
  readonly id: string;
  /** For people. */
  readonly name: string;
  deliver(alert: AlertNotice, signal: AbortSignal): Promise<void>;
};
