import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { notOnThem } from '../../../scripts/external-tests.ts';

const root = fileURLToPath(new URL('../../integration', import.meta.url));
const testFiles = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.test.ts'));
const isLeftOut = (name: string): boolean => notOnThem.some((pattern) => new RegExp(`^${pattern}`).test(name));
/** How the tests are told of the database and the Redis of a run. */
const access = /\b(?:LLMM_TEST_CLUSTER_URL|TEST_DATABASE_URL|TEST_REDIS_URL)\b/;
/** They take contents and constants from a module that has a room on a database as well. */
const exceptions = ['downloads/blob-lock.test.ts', 'downloads/byte-sources.test.ts'];

/** The tests' own modules that a test is made of, programs that it names included. */
function partsOf(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file) || !existsSync(file)) return seen;
  seen.add(file);
  const text = readFileSync(file, 'utf8');
  const named = [...text.matchAll(/from '(\.[^']+)'|'([^'/]+\.ts)'/g)].map(([, imported, program]) =>
    imported === undefined ? path.join(root, '../support/programs', program ?? '') : path.resolve(path.dirname(file), imported),
  );
  for (const next of named) if (next.includes(`${path.sep}test${path.sep}`)) partsOf(next, seen);
  return seen;
}

const reaches = (name: string): boolean => [...partsOf(path.join(root, name))].some((file) => access.test(readFileSync(file, 'utf8')));

describe('the suite on an installed PostgreSQL and Redis', () => {
  it('leaves out no test that uses the database or the Redis of its run', () => {
    expect(testFiles.filter(isLeftOut).filter(reaches)).toEqual(exceptions);
  });

  it('runs every test that is not named, and names none that is not there', () => {
    expect(notOnThem.filter((pattern) => !testFiles.some((name) => new RegExp(`^${pattern}`).test(name)))).toEqual([]);
    // The look into the files sees what it is meant to see.
    expect(['persistence/state-changes.test.ts', 'chat/key-limits.test.ts', 'downloads/storage.test.ts', 'system/alerts.test.ts'].filter(reaches)).toHaveLength(4);
  });
});
