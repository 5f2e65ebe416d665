import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { AlertChannel, AlertNotice } from '../../src/domains/system/alerts/alert-channel.ts';
import { alertNotice } from '../support/alert-notice.ts';

export type ChannelWorld = {
  channel: AlertChannel;
  /** What has arrived so far, as the ids of deliveries; one that came twice may be named twice. */
  arrived: () => Promise<readonly string[]>;
  /** Makes the place where alerts go unreachable; left out where that cannot be. */
  breakPlace?: () => Promise<void>;
  /** The opposite. */
  mendPlace?: () => Promise<void>;
  /** Texts that no message of an error may hold, such as tokens. */
  secrets?: readonly string[];
  close(): Promise<void>;
};

const inTime = (): AbortSignal => AbortSignal.timeout(15_000);

/** What every alert channel promises; a plug-in's author calls it in tests of their own. */
export function describeAlertChannel(name: string, open: () => Promise<ChannelWorld>): void {
  describe(`the alert channel ${name}`, () => {
    let world: ChannelWorld;
    beforeEach(async () => {
      world = await open();
    });
    afterEach(() => world.close());

    const deliver = (notice: AlertNotice): Promise<void> => world.channel.deliver(notice, inTime());

    it('has a short stable id and a name', () => {
      expect(world.channel.id).toMatch(/^[a-z][a-z0-9-]{0,31}$/);
      expect(world.channel.name).toMatch(/^[^\n]{1,200}$/);
    });

    it('has brought a notice to its place by the time at which it says so', async () => {
      const raised = alertNotice();
      await deliver(raised);
      expect(await world.arrived()).toEqual([raised.deliveryId]);
      const resolved = alertNotice({ alertId: raised.alertId, event: 'resolved', resolvedAt: new Date(), resolvedReason: 'recovered' });
      await deliver(resolved);
      expect(await world.arrived()).toEqual([raised.deliveryId, resolved.deliveryId]);
    });

    it('takes the same notice again, as it comes after a crash', async () => {
      const notice = alertNotice();
      await deliver(notice);
      await deliver(notice);
      expect(new Set(await world.arrived())).toEqual(new Set([notice.deliveryId]));
    });

    it('takes whatever an alert may say: states without figures, long texts, line breaks, other scripts', async () => {
      const state = alertNotice({ metric: 'deployment_failed', value: null, comparison: null, threshold: null, target: { kind: 'deployment', id: 'x', name: 'smol', host: null } });
      const strange = alertNotice({ message: `Zeile\n"${'ä'.repeat(2_000)}" \u{1F525} <b>&amp;`, rule: { id: 'r', name: 'Überwachung – "1"' } });
      for (const notice of [state, strange]) await deliver(notice);
      expect(await world.arrived()).toEqual([state.deliveryId, strange.deliveryId]);
    });

    it('delivers several at once', async () => {
      const notices = Array.from({ length: 8 }, () => alertNotice());
      await Promise.all(notices.map(deliver));
      expect(new Set(await world.arrived())).toEqual(new Set(notices.map(({ deliveryId }) => deliveryId)));
    });

    it("delivers nothing after its signal has aborted, and rejects with the signal's reason", async () => {
      const reason = new Error('enough');
      await expect(world.channel.deliver(alertNotice(), AbortSignal.abort(reason))).rejects.toBe(reason);
      expect(await world.arrived()).toEqual([]);
    });

    it('rejects while its place is unreachable, without telling a secret, and delivers again afterwards', async () => {
      const { breakPlace, mendPlace, secrets = [] } = world;
      if (!breakPlace || !mendPlace) return;
      await breakPlace();
      const fault: unknown = await deliver(alertNotice()).then(() => null, (error: unknown) => error);
      expect(fault).toBeInstanceOf(Error);
      for (const secret of secrets) expect((fault as Error).message).not.toContain(secret);
      await mendPlace();
      const notice = alertNotice();
      await deliver(notice);
      expect(await world.arrived()).toContain(notice.deliveryId);
    });
  });
}
