import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createWebhookChannel, type WebhookOptions } from '../../../src/domains/system/alerts/channels/webhook-channel.ts';
import { createOutgoingHttp, type OutgoingHttpClient } from '../../../src/infrastructure/http/outgoing-http.ts';
import { alertNotice } from '../../support/alert-notice.ts';
import { isSignedWith, startWebhookReceiver, type ReceiverMode, type WebhookReceiver } from '../../support/webhook-receiver.ts';

let receiver: WebhookReceiver;
let http: OutgoingHttpClient;
const never = new AbortController().signal;
const channel = (options: Partial<WebhookOptions> = {}) => createWebhookChannel({ url: receiver.url, secret: null, http: http.request, nowSeconds: () => 1_767_225_600.9, ...options });

beforeEach(async () => {
  receiver = await startWebhookReceiver();
  http = createOutgoingHttp({ userAgent: 'test' });
});
afterEach(async () => {
  await http.close();
  await receiver.close();
});

describe('what a webhook posts', () => {
  it('is the documented JSON, at the very address that is configured, with the id of the delivery in a header', async () => {
    const notice = alertNotice({ event: 'resolved', resolvedAt: new Date('2026-01-01T00:05:00.000Z'), resolvedReason: 'recovered' });
    await channel().deliver(notice, never);
    const [received] = receiver.received;
    expect(received!.path).toBe('/hook?token=of-the-receiver');
    expect(received!.headers).toMatchObject({ 'content-type': 'application/json', 'webhook-id': notice.deliveryId, 'webhook-timestamp': '1767225600' });
    expect(received!.headers['webhook-signature']).toBeUndefined();
    expect(JSON.parse(received!.body)).toEqual({
      type: 'alert.resolved',
      timestamp: '2026-01-01T00:05:00.000Z',
      data: {
        delivery_id: notice.deliveryId,
        alert_id: notice.alertId,
        rule: notice.rule,
        metric: 'disk_free_percent',
        severity: 'warning',
        target: { kind: 'volume', id: '/models', name: 'models volume /models', host: 'here' },
        message: 'The models volume /models: free 4 %, below 5 %.',
        value: 4,
        comparison: 'below',
        threshold: 5,
        raised_at: '2026-01-01T00:00:00.000Z',
        resolved_at: '2026-01-01T00:05:00.000Z',
        resolved_reason: 'recovered',
      },
    });
  });

  it.each([
    ['as it is', 'a-long-plain-secret', 'a-long-plain-secret'],
    ['of the form whsec_', `whsec_${Buffer.from('sixteen bytes ok').toString('base64')}`, Buffer.from('sixteen bytes ok')],
  ])('is signed with the secret %s', async (_how, secret, key) => {
    await channel({ secret }).deliver(alertNotice(), never);
    const [received] = receiver.received;
    expect(isSignedWith(key, received!)).toBe(true);
    expect(isSignedWith('another secret', received!)).toBe(false);
    expect(isSignedWith(key, { ...received!, body: received!.body.replace('warning', 'info') })).toBe(false);
  });
});

describe('a webhook fails', () => {
  const faults: [ReceiverMode, string][] = [
    ['fail', 'answered with status 500'],
    ['hang', 'did not answer within 0.2 s'],
    ['reset', 'There is no connection'],
    ['redirect', 'answered with status 307'],
  ];
  it.each(faults)('when its receiver does this: %s', async (mode, message) => {
    receiver.mode = mode;
    const fault: unknown = await channel({ limitMs: 200 }).deliver(alertNotice(), never).catch((error: unknown) => error);
    expect((fault as Error).message).toContain(message);
    expect((fault as Error).message).not.toContain('of-the-receiver');
    // Where a redirect leads nobody has configured.
    expect(receiver.elsewhere).toEqual([]);
  });

  it('not because of an answer without an end, of which it reads no more than it must', async () => {
    receiver.mode = 'endless';
    await channel().deliver(alertNotice(), never);
    expect(receiver.received).toHaveLength(1);
  });

  it("with the reason of its caller's signal when that is what ended it", async () => {
    receiver.mode = 'hang';
    const ended = new AbortController();
    const delivering = channel().deliver(alertNotice(), ended.signal);
    ended.abort(new Error('enough'));
    await expect(delivering).rejects.toThrow('enough');
  });
});
