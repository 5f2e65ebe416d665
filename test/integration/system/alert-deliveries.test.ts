import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createGate } from '../../../src/shared/async.ts';
import { AppError } from '../../../src/shared/errors.ts';
import { newId } from '../../../src/shared/ids.ts';
import { AlertsWorld, RecordingChannel } from '../../support/alerts-world.ts';
import { startChildProgram } from '../../support/child-program.ts';
import { createTestDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { isSignedWith, startWebhookReceiver } from '../../support/webhook-receiver.ts';

const program = fileURLToPath(new URL('../../support/programs/alerts-service.ts', import.meta.url));
let world: AlertsWorld;
beforeAll(async () => {
  world = new AlertsWorld(await createTestDatabase());
});
beforeEach(() => world.reset());
afterEach(() => world.stopAll());
afterAll(() => world.database.drop());

async function raise(process: Awaited<ReturnType<AlertsWorld['open']>>): Promise<string> {
  const id = newId();
  world.deployment(process, id, 'failed');
  const alert = await eventually('it is raised', async () => (await world.alerts(process)).find(({ target }) => target.id === id) ?? null);
  return alert.id;
}

const deliveriesOf = (process: Awaited<ReturnType<AlertsWorld['open']>>, alertId: string, channel = 'recording') =>
  process.room.alerts.deliveriesOf([alertId]).then((all) => all.filter((delivery) => delivery.channel === channel));

describe('two processes on one database', () => {
  it('raise one alert of what both see, deliver it once, and end it once', async () => {
    const processes = await Promise.all([world.open(), world.open()]);
    const [one, two] = processes;
    await world.rule(one);
    const ids = Array.from({ length: 5 }, () => newId());
    for (const [index, id] of ids.entries()) world.deployment(processes[index % 2]!, id, 'failed');
    await eventually('all are raised', async () => (await world.alerts(two)).length === ids.length);
    await world.told(ids.length);
    for (const [index, id] of ids.entries()) world.deployment(processes[(index + 1) % 2]!, id, 'running');
    await eventually('all are over', async () => (await world.alerts(one)).every(({ status }) => status === 'resolved'));
    await world.told(2 * ids.length);
    const deliveries = await two.room.alerts.deliveriesOf((await world.alerts(one)).map(({ id }) => id));
    await eventually('all are delivered', async () => (await two.room.alerts.deliveriesOf(deliveries.map(({ alertId }) => alertId))).every(({ status }) => status === 'delivered'));
    expect((await world.alerts(one)).map(({ target }) => target.id).toSorted()).toEqual(ids.toSorted());
    const told = world.channel.notices.map(({ event, target }) => `${event} ${target.id}`);
    expect(told.toSorted()).toEqual(ids.flatMap((id) => [`raised ${id}`, `resolved ${id}`]).toSorted());
  });

  it('leave to each other what the other measures on its own machine, until that is gone', async () => {
    const [here, there] = [await world.open({ host: 'here' }), await world.open({ host: 'there' })];
    await world.rule(here, { metric: 'memory_used_percent', threshold: 90 });
    const full = { memory: { ...world.sample.memory, usedBytes: world.sample.memory.totalBytes } };
    world.sample = { ...world.sample, ...full };
    here.measure();
    const raised = await eventually('both machines are full', async () => {
      here.measure();
      there.measure();
      const alerts = await world.alerts(here);
      return alerts.length === 2 ? alerts : null;
    });
    expect(raised.map(({ target }) => target.id).toSorted()).toEqual(['here', 'there']);
    world.forget(there);
    await there.stop();
    await world.society.die(there.instances);
    await eventually('its alert is over', async () => (await world.alerts(here)).some(({ target, status }) => target.id === 'there' && status === 'resolved'));
    const left = await world.alerts(here);
    expect(left.find(({ target }) => target.id === 'there')).toMatchObject({ resolvedReason: 'target_gone' });
    expect(left.find(({ target }) => target.id === 'here')).toMatchObject({ status: 'firing' });
  });

  it('go on where one of them was killed between raising an alert and having told it', async () => {
    const quiet = await world.open({ channels: [] });
    await world.rule(quiet);
    const deploymentId = newId();
    world.deploymentRows.set(deploymentId, { id: deploymentId, name: 'smol', status: 'failed' });
    await quiet.room.stop();
    const child = startChildProgram(program, [world.database.url, deploymentId]);
    const { deliveryId } = await child.nextLine();
    await child.kill('SIGKILL');
    const survivor = await world.open();
    await eventually('it is delivered', async () => (await deliveriesOf(survivor, (await world.alerts(survivor))[0]!.id))[0]?.status === 'delivered');
    expect(await world.alerts(survivor)).toHaveLength(1);
    expect(world.channel.notices.map((notice) => notice.deliveryId)).toEqual([deliveryId]);
  });
});

describe('a channel', () => {
  it('that fails is tried again with the same id, and then given up with what it said last', async () => {
    const process = await world.open();
    await world.rule(process, { channels: ['recording'] });
    world.channel.onDeliver = () => Promise.reject(new AppError('NETWORK_FAILED', 'The receiver is away.'));
    const alertId = await raise(process);
    const [delivery] = await eventually('it is given up', async () => {
      const all = await deliveriesOf(process, alertId);
      return all[0]?.status === 'failed' ? all : null;
    });
    expect(delivery).toMatchObject({ attempts: 3, error: 'The receiver is away.' });
    expect(new Set(world.channel.notices.map(({ deliveryId }) => deliveryId))).toEqual(new Set([delivery!.id]));
    expect(world.channel.notices).toHaveLength(3);
  });

  it('that comes back gets what it missed, later and later', async () => {
    const process = await world.open();
    await world.rule(process, { channels: ['recording'] });
    let failures = 2;
    world.channel.onDeliver = () => ((failures -= 1) >= 0 ? Promise.reject(new Error('away')) : Promise.resolve());
    const alertId = await raise(process);
    await eventually('it is delivered', async () => (await deliveriesOf(process, alertId))[0]?.status === 'delivered');
    expect((await deliveriesOf(process, alertId))[0]).toMatchObject({ attempts: 3, error: null });
  });

  it('that hangs keeps no other channel waiting, and is cut off', async () => {
    const [slow, quick] = [new RecordingChannel('slow'), new RecordingChannel('quick')];
    slow.onDeliver = () => new Promise<never>(() => undefined);
    const process = await world.open({ channels: [slow, quick], deps: { delivery: { retrySeconds: [], limitMs: 300 } } });
    await world.rule(process, { channels: ['slow', 'quick'] });
    const ids = [await raise(process), await raise(process), await raise(process)];
    await eventually('the quick one has all', () => quick.notices.length === 3);
    const slowOnes = await eventually('the slow one is cut off', async () => {
      const all = await process.room.alerts.deliveriesOf(ids).then((found) => found.filter(({ channel }) => channel === 'slow'));
      return all.every(({ status }) => status === 'failed') ? all : null;
    });
    expect(slowOnes.map(({ error }) => error)).toEqual(Array.from({ length: 3 }, () => 'It took longer than 0.3 s.'));
  });

  it('that is busy when the service ends gets the notice again after the next start, and that attempt does not count', async () => {
    const process = await world.open();
    await world.rule(process, { channels: ['recording'] });
    const arrived = createGate();
    world.channel.onDeliver = (_alert, signal) =>
      new Promise((_resolve, reject) => {
        arrived.open();
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      });
    const alertId = await raise(process);
    await arrived.opened;
    world.forget(process);
    await process.stop();
    world.channel.onDeliver = () => Promise.resolve();
    const next = await world.open();
    await eventually('it is delivered', async () => (await deliveriesOf(next, alertId))[0]?.status === 'delivered');
    expect((await deliveriesOf(next, alertId))[0]).toMatchObject({ attempts: 1 });
    expect(world.channel.notices).toHaveLength(2);
  });

  it('that nobody brings any more is waited for, and given up after a day', async () => {
    const process = await world.open();
    await world.rule(process, { channels: ['recording'] });
    world.forget(process);
    await process.stop();
    const next = await world.open({ channels: [] });
    const alertId = await raise(next);
    await next.room.purge(new Date(0));
    expect((await deliveriesOf(next, alertId))[0]).toMatchObject({ status: 'pending' });
    world.clock.advance(25 * 3_600_000);
    await next.room.purge(new Date(0));
    expect((await deliveriesOf(next, alertId))[0]).toMatchObject({ status: 'failed', attempts: 0, error: 'No process has a channel recording.' });
  });

  it('that a rule does not name is told nothing', async () => {
    const process = await world.open();
    await world.rule(process, { channels: [] });
    const alertId = await raise(process);
    expect(await process.room.alerts.deliveriesOf([alertId])).toEqual([]);
  });
});

describe('the webhook', () => {
  it('goes through a receiver that fails, and signs what it posts', async () => {
    const receiver = await startWebhookReceiver();
    const process = await world.open({ channels: [], deps: { webhook: { url: receiver.url, secret: 'a-secret-of-the-operator' } } });
    await world.rule(process, { channels: ['webhook'] });
    receiver.mode = 'reset';
    const alertId = await raise(process);
    await eventually('it was tried', () => receiver.received.length > 0);
    receiver.mode = 'accept';
    await eventually('it is delivered', async () => (await deliveriesOf(process, alertId, 'webhook'))[0]?.status === 'delivered');
    expect(new Set(receiver.received.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    expect(receiver.received.every((received) => isSignedWith('a-secret-of-the-operator', received))).toBe(true);
    await receiver.close();
  });
});
