import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { StateEvent } from '../../../src/shared/persistence/state-event.entity.ts';
import { newId } from '../../../src/shared/ids.ts';
import { createTestDatabase } from '../../support/database.ts';
import type { TestDatabase } from '../../support/database.ts';

describe('the test database', () => {
  let first: TestDatabase;
  let second: TestDatabase;
  beforeAll(async () => {
    [first, second] = await Promise.all([createTestDatabase(), createTestDatabase()]);
  });
  afterAll(async () => {
    await Promise.all([first.drop(), second.drop()]);
  });

  it('stores rows where no other test file sees them', async () => {
    const em = first.em();
    em.create(StateEvent, { kind: 'download', subjectId: newId(), fromState: null, toState: 'queued', reason: null, at: new Date() });
    await em.flush();
    expect(await first.em().count(StateEvent)).toBe(1);
    expect(await second.em().count(StateEvent)).toBe(0);
  });
});
