import { isAllowedGlobal } from '../../../src/domains/downloads/scanners/pickle-globals.ts';
import type { SeededRandom } from '../seeded-random.ts';
import { isSoundSafetensors, mutantOf } from './mutations.ts';
import type { PythonOracle } from './python-oracle.ts';
import { scanBytes } from './verdict.ts';

export type MutantTally = { faults: string[]; verdicts: Record<string, number>; /** Files of which Python says that they import what they should not. */ harmful: number };

/** Scans so many changed files; a fault is a crash, or a clean verdict that somebody else contradicts. */
export async function judgeMutants(random: SeededRandom, count: number, python: PythonOracle | null): Promise<MutantTally> {
  const tally: MutantTally = { faults: [], verdicts: {}, harmful: 0 };
  for (let index = 0; index < count && tally.faults.length < 10; index += 1) {
    const { path, bytes, kind } = mutantOf(random);
    const facts = (): string => `${path} #${index}: ${bytes.toString('base64').slice(0, 4_000)}`;
    try {
      const { verdict } = await scanBytes(path, bytes);
      tally.verdicts[`${kind} ${verdict}`] = (tally.verdicts[`${kind} ${verdict}`] ?? 0) + 1;
      if (kind === 'safetensors' && verdict === 'CLEAN' && !isSoundSafetensors(bytes)) tally.faults.push(`a broken file is clean: ${facts()}`);
      const isPickled = kind === 'pickle' || kind === 'zip';
      const harm = isPickled && python ? (await python.importsOf(bytes)).filter(({ module, name }) => !isAllowedGlobal(module, name)) : [];
      if (harm.length > 0) tally.harmful += 1;
      if (harm.length > 0 && verdict === 'CLEAN') tally.faults.push(`${JSON.stringify(harm)} is clean: ${facts()}`);
    } catch (error) {
      tally.faults.push(`${String(error)}: ${facts()}`);
    }
  }
  return tally;
}
