/**
 * `npm run bench:hostile`: hostile listings through planning and placing, and changed or harmful model files through
 * the scanners, with Python's own unpickler as a second opinion where there is one. The seed is printed and can be given
 * again. `--short` is what the tests do; exits 1 when a promise was broken.
 */
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { faultsOfListing } from '../test/support/downloads/hostile-listings.ts';
import { judgeMutants } from '../test/support/scan/judge-mutants.ts';
import { startPythonOracle } from '../test/support/scan/python-oracle.ts';
import { seededRandom } from '../test/support/seeded-random.ts';

const { values } = parseArgs({ options: { short: { type: 'boolean', default: false }, seed: { type: 'string' }, listings: { type: 'string' }, files: { type: 'string' } } });
const seed = Number(values.seed ?? randomInt(2 ** 31));
const listings = Number(values.listings ?? (values.short ? 5_000 : 50_000));
const files = Number(values.files ?? (values.short ? 3_000 : 100_000));
console.error(`seed ${seed}: ${listings} listings, ${files} files`);

const startedAt = performance.now();
const faults: string[] = [];
let refused = 0;
const listingRandom = seededRandom(seed);
for (let index = 0; index < listings && faults.length < 10; index += 1) {
  const outcome = faultsOfListing(listingRandom);
  faults.push(...outcome.faults);
  refused += outcome.isRefused ? 1 : 0;
}
const python = await startPythonOracle();
const tally = await judgeMutants(seededRandom(seed), files, python);
python?.close();
faults.push(...tally.faults);
for (const fault of faults) console.error(fault);
console.log(JSON.stringify({ bench: 'hostile', seed, listings, refused, files, verdicts: tally.verdicts, harmful: python ? tally.harmful : null, seconds: Math.round((performance.now() - startedAt) / 1000), faults: faults.length }));
process.exitCode = faults.length > 0 ? 1 : 0;
