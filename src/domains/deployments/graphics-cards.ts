import type { FieldFault } from '../../shared/errors.ts';

export type GraphicsCard = { index: number; uuid: string; name: string };

const field = 'config.gpu_devices';

/**
 * Faults of devices that are not there. One is named by its number, by its id or the beginning of that; `all` is for
 * runtimes that know it. Parts of a card (MIG) are not in the list of cards and are left to the driver.
 */
export function cardFaults(wanted: readonly string[], cards: readonly GraphicsCard[]): FieldFault[] {
  if (cards.length === 0) return [{ field, message: 'cannot be given: this machine has no graphics card, or its driver is not installed' }];
  const isThere = (device: string): boolean => device === 'all' || device.startsWith('MIG-') || cards.some(({ index, uuid }) => String(index) === device || (device.length >= 8 && uuid.startsWith(device)));
  const list = cards.map(({ index, uuid, name }) => `${index} (${name}, ${uuid})`).join(', ');
  return wanted.filter((device) => !isThere(device)).map((device) => ({ field, message: `there is no graphics card ${device}; there are ${list}` }));
}
