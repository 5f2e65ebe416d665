import { randomInt } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { faultsOfListing } from '../../support/downloads/hostile-listings.ts';
import { judgeMutants } from '../../support/scan/judge-mutants.ts';
import { seededRandom } from '../../support/seeded-random.ts';

/** `npm run bench:hostile` does the same many times more, with Python as a second opinion. */
const seed = randomInt(2 ** 31);

describe('what strangers send', () => {
  it('as listings has no place outside the store, and never two files in one', () => {
    const random = seededRandom(seed);
    const faults = Array.from({ length: 5_000 }, () => faultsOfListing(random).faults).flat();
    expect({ seed, faults }).toEqual({ seed, faults: [] });
  });

  it('as files, changed in any way, breaks no scanner', async () => {
    const { faults } = await judgeMutants(seededRandom(seed), 2_000, null);
    expect({ seed, faults }).toEqual({ seed, faults: [] });
  });
});
