import { createHmac } from 'node:crypto';
import { AppError } from '../../../../shared/errors.ts';
import type { OutgoingHttp } from '../../../../shared/outgoing-http.ts';
import { signingKeyOf } from '../../../../shared/webhook-secret.ts';
import type { AlertChannel, AlertNotice } from '../alert-channel.ts';

export type WebhookOptions = {
  /** The operator's own; it may hold a token, so it is never shown. */
  url: string;
  /** Signs each request; null = none is signed. */
  secret: string | null;
  http: OutgoingHttp;
  /** Seconds since 1970, for the signature; a receiver refuses what is old. */
  nowSeconds: () => number;
  /** For one request, its answer included. */
  limitMs?: number;
};

const limitMsDefault = 10_000;
/** Of an answer nothing but the status is looked at. */
const answerBytesMax = 16 * 1024;

/**
 * Posts each notice as JSON to one address that the operator has configured, and nowhere else: no redirect is followed.
 * Headers and signature are those of the Standard Webhooks specification, which libraries for receivers know.
 */
export function createWebhookChannel({ url, secret, http, nowSeconds, limitMs = limitMsDefault }: WebhookOptions): AlertChannel {
  const { host } = new URL(url);
  const key = secret === null ? null : signingKeyOf(secret);
  return {
    id: 'webhook',
    name: `Webhook at ${host}`,
    deliver: async (alert, signal) => {
      signal.throwIfAborted();
      const body = JSON.stringify(bodyOf(alert));
      const timestamp = String(Math.floor(nowSeconds()));
      const headers = { 'content-type': 'application/json', 'webhook-id': alert.deliveryId, 'webhook-timestamp': timestamp, ...(key === null ? {} : { 'webhook-signature': signatureOf(key, `${alert.deliveryId}.${timestamp}.${body}`) }) };
      const limit = AbortSignal.timeout(limitMs);
      const { status } = await send(http, { url, headers, body }, AbortSignal.any([signal, limit])).catch((error: unknown) => {
        signal.throwIfAborted();
        throw limit.aborted ? new AppError('TIMEOUT', `${host} did not answer within ${limitMs / 1000} s.`, { cause: error }) : error;
      });
      if (status < 200 || status > 299) throw new AppError('NETWORK_FAILED', `${host} answered with status ${status}.`);
    },
  };
}

async function send(http: OutgoingHttp, request: { url: string; headers: Record<string, string>; body: string }, signal: AbortSignal): Promise<{ status: number }> {
  // The operator has named the host, so it may be a private one.
  return await http({ method: 'POST', ...request, maxBytes: answerBytesMax, overflow: 'truncate', allowPrivate: true }, signal);
}

function signatureOf(key: Buffer, content: string): string {
  return `v1,${createHmac('sha256', key).update(content).digest('base64')}`;
}

/** Fields are added only, never renamed. */
function bodyOf(alert: AlertNotice): Record<string, unknown> {
  const { deliveryId, event, alertId, rule, metric, severity, target, message, value, comparison, threshold, raisedAt, resolvedAt, resolvedReason } = alert;
  return {
    type: `alert.${event}`,
    timestamp: (resolvedAt ?? raisedAt).toISOString(),
    data: {
      delivery_id: deliveryId,
      alert_id: alertId,
      rule: { id: rule.id, name: rule.name },
      metric,
      severity,
      target: { kind: target.kind, id: target.id, name: target.name, host: target.host },
      message,
      value,
      comparison,
      threshold,
      raised_at: raisedAt.toISOString(),
      resolved_at: resolvedAt?.toISOString() ?? null,
      resolved_reason: resolvedReason,
    },
  };
}
