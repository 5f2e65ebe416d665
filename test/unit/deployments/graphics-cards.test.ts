import { expect, it } from '@jest/globals';
import { cardFaults } from '../../../src/domains/deployments/graphics-cards.ts';

const cards = [{ index: 0, uuid: 'GPU-aaaa1111-22', name: 'NVIDIA H200' }, { index: 1, uuid: '0x3d4595974090853c', name: 'Radeon RX 7900 XT' }];

it('knows cards by their number, their id and its beginning, and leaves parts of cards to the driver', () => {
  expect(cardFaults(['0', '1', 'GPU-aaaa1111-22', 'GPU-aaaa', '0x3d4595974090853c', 'all', 'MIG-b'], cards)).toEqual([]);
});

it('names those that are not there, and what there is', () => {
  expect(cardFaults(['2', 'GPU-', 'GPU-bbbb1111'], cards).map(({ message }) => message.slice(0, 44))).toEqual([
    'there is no graphics card 2; there are 0 (NV', 'there is no graphics card GPU-; there are 0 ', 'there is no graphics card GPU-bbbb1111; ther',
  ]);
});

it('says that a machine has no card', () => {
  expect(cardFaults(['0', '1'], [])).toEqual([{ field: 'config.gpu_devices', message: expect.stringContaining('no graphics card') }]);
});
