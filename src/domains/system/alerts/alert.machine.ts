import { defineMachine } from '../../../shared/state-machine.ts';

export const alertStatuses = ['firing', 'acknowledged', 'resolved'] as const;
export type AlertStatus = (typeof alertStatuses)[number];

/** `acknowledged`: somebody has seen it. What comes after `resolved` is another alert. */
export const alertMachine = defineMachine<AlertStatus>('alert', {
  firing: ['acknowledged', 'resolved'],
  acknowledged: ['resolved'],
  resolved: [],
});

export const deliveryStatuses = ['pending', 'delivered', 'failed'] as const;
export type DeliveryStatus = (typeof deliveryStatuses)[number];

export const deliveryMachine = defineMachine<DeliveryStatus>('alert_delivery', {
  pending: ['delivered', 'failed'],
  delivered: [],
  failed: [],
});
