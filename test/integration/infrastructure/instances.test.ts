import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { InstanceRegistry } from '../../../src/infrastructure/instances/instance-registry.ts';
import { systemClock } from '../../../src/infrastructure/system-clock.ts';
import type { Clock } from '../../../src/shared/clock.ts';
import { newId } from '../../../src/shared/ids.ts';
import { startChildProgram, type ChildProgram } from '../../support/child-program.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { createManualClock } from '../../support/manual-clock.ts';
import { silentLogger } from '../../support/silent-logger.ts';

const program = join(import.meta.dirname, '../../support/programs/instance.ts');

describe('the registry of service processes', () => {
  let database: TestDatabase;
  let registries: InstanceRegistry[] = [];
  let children: ChildProgram[] = [];
  beforeAll(async () => {
    database = await createTestDatabase();
  });
  afterEach(async () => {
    for (const child of children) await child.kill('SIGKILL');
    await Promise.all(registries.map((registry) => registry.stop()));
    [registries, children] = [[], []];
    await database.em().getConnection().execute('truncate service_instances');
  });
  afterAll(() => database.drop());

  const register = async (options: { clock?: Clock; isSole?: boolean; beatEveryMs?: number; deadAfterMs?: number } = {}): Promise<{ registry: InstanceRegistry; dead: string[] }> => {
    const registry = await InstanceRegistry.register({ em: database.orm.em, clock: systemClock, logger: silentLogger, isSole: false, beatEveryMs: 50, ...options });
    registries.push(registry);
    const dead: string[] = [];
    registry.onDeath(async ({ id }) => void dead.push(id));
    registry.watch();
    return { registry, dead };
  };
  const startProcess = async (deadAfterMs = 10_000): Promise<{ child: ChildProgram; id: string }> => {
    const child = startChildProgram(program, [database.url, String(deadAfterMs)]);
    children.push(child);
    return { child, id: String((await child.nextLine())['id']) };
  };
  const sql = (text: string, values: unknown[] = []): Promise<unknown> => database.em().getConnection().execute(text, values);

  it('tells every living process of one on this machine that was killed, once and long before its heartbeat has run out', async () => {
    const [one, two] = await Promise.all([register({ deadAfterMs: 3_600_000 }), register({ deadAfterMs: 3_600_000 })]);
    const [killed, living] = await Promise.all([startProcess(), startProcess()]);
    expect(await one.registry.find(killed.id)).toMatchObject({ pid: killed.child.pid, isHere: true, isAlive: true });
    await killed.child.kill('SIGKILL');
    await eventually('both are told', () => one.dead.length > 0 && two.dead.length > 0);
    expect([one.dead, two.dead]).toEqual([[killed.id], [killed.id]]);
    expect([await one.registry.isAlive(killed.id), await one.registry.isAlive(living.id)]).toEqual([false, true]);
  });

  it('tells of a process that stands still when its time is up, and counts it as living when it goes on', async () => {
    const { registry, dead } = await register({ deadAfterMs: 1_000 });
    const { child, id } = await startProcess(1_000);
    child.process.kill('SIGSTOP');
    await eventually('its death', () => dead.includes(id));
    expect(await registry.isAlive(id)).toBe(false);
    child.process.kill('SIGCONT');
    await eventually('its life', () => registry.isAlive(id));
  });

  it('tells of no process that ended in order, and does not know it any more', async () => {
    const { registry, dead } = await register();
    const { child, id } = await startProcess();
    await child.kill('SIGTERM');
    expect(await registry.find(id)).toBeNull();
    expect(await registry.isAlive(id)).toBe(false);
    expect(dead).toEqual([]);
  });

  it('tells again what a listener could not deal with', async () => {
    const { registry, dead } = await register();
    let refusals = 2;
    registry.onDeath(async () => {
      if (refusals-- > 0) throw new Error('the database is away');
    });
    const { child, id } = await startProcess();
    await child.kill('SIGKILL');
    await eventually('the third telling', () => dead.length === 3);
    expect(dead).toEqual([id, id, id]);
  });

  it('calls nobody dead after it stood still itself, until the others had their time', async () => {
    const clock = createManualClock();
    const { dead } = await register({ clock, beatEveryMs: 2_000, deadAfterMs: 10_000 });
    const other = newId();
    await sql(`insert into service_instances (id, host, machine, pid, process_start, started_at, heartbeat_at) values (?, 'elsewhere', 'elsewhere', 1, '', now(), now() - interval '1 hour')`, [other]);
    clock.advance(60_000);
    for (let beat = 0; beat < 5; beat += 1) {
      await clock.passSleepOf(2_000);
      expect(dead).toEqual([]);
    }
    await clock.passSleepOf(2_000);
    await eventually('the death', () => dead.includes(other));
  });

  it('knows no other living process where none can be', async () => {
    const { id } = await startProcess();
    const { registry } = await register({ isSole: true });
    expect(await registry.find(id)).toMatchObject({ isAlive: false });
    expect([await registry.isAlive(id), await registry.isAlive(registry.self.id)]).toEqual([false, true]);
  });
});
