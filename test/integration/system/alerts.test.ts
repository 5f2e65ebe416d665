import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { AlertRepository } from '../../../src/domains/system/alerts/alert.repository.ts';
import { newId } from '../../../src/shared/ids.ts';
import { StateEvent } from '../../../src/shared/persistence/state-event.entity.ts';
import { admin, AlertsWorld, never, operator } from '../../support/alerts-world.ts';
import { createTestDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { resourcesRow } from '../../support/domain-doubles/rows.ts';

let world: AlertsWorld;
beforeAll(async () => {
  world = new AlertsWorld(await createTestDatabase());
});
beforeEach(() => world.reset());
afterEach(() => world.stopAll());
afterAll(() => world.database.drop());

const gibibyte = 1024 ** 3;
const disk = (availableBytes: number) => ({ path: '/models', purpose: 'models' as const, totalBytes: 100 * gibibyte, availableBytes, usedBytes: 0, reservedBytes: 0 });
const hot = { index: 0, uuid: 'GPU-1', name: 'Card', memoryTotalBytes: 10, memoryUsedBytes: 1, utilizationPercent: null, temperatureCelsius: 95, powerWatts: null };

describe('an alert', () => {
  it('is raised when a deployment fails, told once, and over when it runs again', async () => {
    const process = await world.open();
    const rule = await world.rule(process, { name: 'It failed', severity: 'critical' });
    const id = newId();
    world.deployment(process, id, 'failed');
    const raised = await world.reaches(process, 'firing');
    expect(raised).toMatchObject({ ruleId: rule.id, ruleName: 'It failed', severity: 'critical', target: { kind: 'deployment', id, host: null }, value: null, message: `Deployment d-${id.slice(-4)} has failed.`, resolvedAt: null });
    world.deployment(process, id, 'starting');
    world.deployment(process, id, 'running');
    expect(await world.reaches(process, 'resolved')).toMatchObject({ id: raised.id, resolvedReason: 'recovered' });
    await world.told(2);
    expect(world.channel.notices.map(({ event, alertId }) => [event, alertId])).toEqual([['raised', raised.id], ['resolved', raised.id]]);
    const events = await world.database.em().find(StateEvent, { kind: 'alert', subjectId: raised.id }, { orderBy: { id: 'asc' } });
    expect(events.map(({ fromState, toState }) => [fromState, toState])).toEqual([[null, 'firing'], ['firing', 'resolved']]);
  });

  it('is raised only after it was so for as long as its rule says', async () => {
    const process = await world.open();
    await world.rule(process, { metric: 'deployment_unhealthy', forSeconds: 30 });
    const id = newId();
    world.deployment(process, id, 'unhealthy');
    await eventually('its time runs', () => world.clock.sleeps().includes(30_000));
    expect(await world.alerts(process)).toEqual([]);
    world.clock.advance(30_000);
    expect(await world.reaches(process, 'firing')).toMatchObject({ message: expect.stringContaining('is unhealthy for 30 s') });
  });

  it('tells what was measured of a machine, in the unit of its metric', async () => {
    const process = await world.open();
    await world.rule(process, { metric: 'disk_free_bytes', threshold: 5 * gibibyte, target: null });
    process.measure({ disks: [disk(6 * gibibyte)] });
    process.measure({ disks: [disk(4 * gibibyte)] });
    expect(await world.reaches(process, 'firing')).toMatchObject({ value: 4 * gibibyte, comparison: 'below', threshold: 5 * gibibyte, target: { kind: 'volume', id: '/models', host: 'here' }, message: 'The models volume /models: free 4 GiB, below 5 GiB.' });
  });

  it('is not over because a card cannot be read for a moment, but when it has been well for a while', async () => {
    const process = await world.open();
    await world.rule(process, { metric: 'gpu_temperature_celsius', threshold: 90 });
    process.measure({ gpus: [hot] });
    const raised = await world.reaches(process, 'firing');
    for (const gpus of [[], [{ ...hot, temperatureCelsius: null }], [{ ...hot, temperatureCelsius: 89 }]]) {
      process.measure({ gpus });
      world.clock.advance(60_000);
    }
    process.measure({ gpus: [{ ...hot, temperatureCelsius: 50 }] });
    await eventually('it settles', () => world.clock.sleeps().includes(10_000));
    expect(await process.room.alerts.find(raised.id)).toMatchObject({ status: 'firing' });
    world.clock.advance(10_000);
    expect(await world.reaches(process, 'resolved')).toMatchObject({ id: raised.id });
  });

  it('is raised for a download that gets nothing, unless its events were lost and it got something all the same', async () => {
    const process = await world.open();
    await world.rule(process, { metric: 'download_stalled_seconds', threshold: 60 });
    const [still, moving] = [newId(), newId()];
    world.download(process, still, 'running', 100);
    world.download(process, moving, 'running', 100);
    await eventually('both are seen', async () => {
      process.measure();
      return (await Promise.all([still, moving].map((id) => world.downloads.find(id)))).every((row) => row !== null);
    });
    world.downloadRows.set(moving, { id: moving, modelId: 'huggingface:org/model', status: 'running', downloadedBytes: 200 });
    await eventually('time passes for both', async () => {
      world.clock.advance(61_000);
      world.downloadRows.set(moving, { ...world.downloadRows.get(moving)!, downloadedBytes: world.downloadRows.get(moving)!.downloadedBytes + 1 });
      process.measure();
      return (await world.alerts(process)).length > 0;
    });
    expect((await world.alerts(process)).map(({ target }) => target.id)).toEqual([still]);
    world.download(process, still, 'completed');
    expect(await world.reaches(process, 'resolved')).toMatchObject({ resolvedReason: 'recovered' });
  });

  it('ends with what it was about, and with its rule', async () => {
    const process = await world.open();
    const rule = await world.rule(process);
    const [gone, stays] = [newId(), newId()];
    world.deployment(process, gone, 'failed');
    world.deployment(process, stays, 'failed');
    await eventually('both are raised', async () => (await world.alerts(process)).length === 2);
    world.deploymentRows.delete(gone);
    process.live.events.publish('deployment.changed', gone, { deploymentId: gone, status: 'stopped', removed: true });
    expect(await world.reaches(process, 'resolved')).toMatchObject({ target: { id: gone }, resolvedReason: 'target_gone' });
    await process.room.alerts.deleteRule(rule.id, admin);
    await eventually('the other is over, too', async () => (await world.alerts(process)).every(({ status }) => status === 'resolved'));
    expect((await world.alerts(process)).find(({ target }) => target.id === stays)).toMatchObject({ resolvedReason: 'rule_changed', ruleName: 'rule' });
  });

  it('is acknowledged with the name of whoever did so, which stays when another does, and never once it is over', async () => {
    const process = await world.open();
    await world.rule(process);
    const id = newId();
    world.deployment(process, id, 'failed');
    const { id: alertId } = await world.reaches(process, 'firing');
    const { alerts } = process.room;
    expect(await alerts.acknowledge(alertId, operator)).toMatchObject({ status: 'acknowledged', acknowledgedBy: 'the operator', acknowledgedAt: expect.any(Date) });
    expect(await alerts.acknowledge(alertId, admin)).toMatchObject({ status: 'acknowledged', acknowledgedBy: 'the operator' });
    await expect(alerts.acknowledge(newId(), admin)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    world.deployment(process, id, 'running');
    await world.reaches(process, 'resolved');
    await expect(alerts.acknowledge(alertId, admin)).rejects.toMatchObject({ code: 'INVALID_STATE', details: { status: 'resolved' } });
  });

  it('survives a restart, as it was, without being raised or told again', async () => {
    const first = await world.open();
    await world.rule(first, { metric: 'disk_free_percent', threshold: 10 });
    world.sample = { ...resourcesRow(), disks: [disk(gibibyte)] };
    first.measure();
    const { id } = await world.reaches(first, 'firing');
    await first.room.alerts.acknowledge(id, operator);
    await world.told(1);
    world.forget(first);
    await first.stop();
    await world.society.die(first.instances);
    const second = await world.open();
    second.measure();
    expect(await world.alerts(second)).toEqual([expect.objectContaining({ id, status: 'acknowledged' })]);
    second.measure({ disks: [disk(50 * gibibyte)] });
    await eventually('it settles', () => world.clock.sleeps().includes(10_000));
    world.clock.advance(10_000);
    expect(await world.reaches(second, 'resolved')).toMatchObject({ id });
    await world.told(2);
    expect(world.channel.notices.map(({ event }) => event)).toEqual(['raised', 'resolved']);
  });
});

describe('rules that come with the service', () => {
  it('are made once: who changes or deletes them finds them so after a restart', async () => {
    await world.reset({ withDefaults: true });
    const first = await world.open();
    const [gone, changed, ...others] = await first.room.alerts.rules();
    await first.room.alerts.deleteRule(gone!.id, admin);
    await first.room.alerts.updateRule(changed!.id, { threshold: 7, enabled: false }, admin);
    const second = await world.open();
    expect(others.length).toBeGreaterThan(5);
    const rules = await second.room.alerts.rules();
    expect(rules.map(({ id }) => id)).toEqual([changed!.id, ...others.map(({ id }) => id)]);
    expect(rules[0]).toMatchObject({ threshold: 7, enabled: false });
  });
});

describe('retention', () => {
  it('takes away what was over before, with its deliveries, and what exceeds the number kept; open ones stay', async () => {
    const process = await world.open();
    await world.rule(process);
    const ids = [newId(), newId()];
    for (const id of ids) world.deployment(process, id, 'failed');
    await eventually('both are raised', async () => (await world.alerts(process)).length === 2);
    world.deployment(process, ids[0]!, 'running');
    const { id } = await world.reaches(process, 'resolved');
    await world.told(3);
    expect(await process.room.purge(new Date(world.clock.now().getTime()))).toBe(0);
    expect(await process.room.purge(new Date(world.clock.now().getTime() + 1))).toBe(1);
    expect((await world.alerts(process)).map(({ status }) => status)).toEqual(['firing']);
    expect(await process.room.alerts.deliveriesOf([id])).toEqual([]);
    world.deployment(process, ids[1]!, 'running');
    await world.reaches(process, 'resolved');
    const repository = new AlertRepository(world.database.orm.em);
    expect([await repository.purge(new Date(0), 1), await repository.purge(new Date(0), 0)]).toEqual([0, 1]);
  });
});

describe('a reader of raised alerts', () => {
  it('gets the open ones first, then each once as it is raised, and ends with its signal', async () => {
    const process = await world.open();
    await world.rule(process);
    const ids = [newId(), newId(), newId()];
    world.deployment(process, ids[0]!, 'failed');
    const open = await world.reaches(process, 'firing');
    await process.room.alerts.acknowledge(open.id, operator);
    const ended = new AbortController();
    const reader = process.room.alerts.watchRaised(ended.signal)[Symbol.asyncIterator]();
    expect((await reader.next()).value).toMatchObject({ id: open.id, status: 'acknowledged' });
    const seen: string[] = [];
    for (const id of ids.slice(1)) {
      world.deployment(process, id, 'failed');
      seen.push(((await reader.next()) as IteratorYieldResult<typeof open>).value.target.id);
    }
    expect(seen).toEqual(ids.slice(1));
    const last = reader.next();
    ended.abort();
    expect((await last).done).toBe(true);
  });

  it('that is slow is told of every alert that is still open, however many came meanwhile', async () => {
    const process = await world.open();
    await world.rule(process);
    const reader = process.room.alerts.watchRaised(never)[Symbol.asyncIterator]();
    const first = reader.next();
    const ids = Array.from({ length: 5 }, () => newId());
    for (const id of ids) world.deployment(process, id, 'failed');
    await eventually('all are raised', async () => (await world.alerts(process)).length === ids.length);
    // More changes than the reader's queue holds.
    for (let times = 0; times < 300; times += 1) process.live.events.publish('alert.changed', newId(), { alertId: newId(), status: 'resolved' });
    const seen = [((await first) as IteratorYieldResult<{ target: { id: string } }>).value.target.id];
    while (seen.length < ids.length) seen.push(((await reader.next()) as IteratorYieldResult<{ target: { id: string } }>).value.target.id);
    expect(new Set(seen)).toEqual(new Set(ids));
    await reader.return?.();
  });
});
