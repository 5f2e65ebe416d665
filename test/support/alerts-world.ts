import { createAlerts, type AlertsDeps, type AlertsRoom } from '../../src/domains/system/alerts/create-alerts.ts';
import { Alert, AlertDelivery, AlertRule, AlertRuleSeed } from '../../src/domains/system/alerts/alert.entity.ts';
import type { AlertChannel, AlertNotice } from '../../src/domains/system/alerts/alert-channel.ts';
import type { WatchedDeployment, WatchedDownload } from '../../src/domains/system/alerts/readings.ts';
import type { AlertView, CreateAlertRule, AlertRuleView } from '../../src/domains/system/alerts/types.ts';
import { PgBossQueue } from '../../src/infrastructure/jobs/pg-boss-queue.ts';
import { systemClock } from '../../src/infrastructure/system-clock.ts';
import { newId } from '../../src/shared/ids.ts';
import type { Instances } from '../../src/shared/instances.ts';
import type { Page, PageRequest } from '../../src/shared/paging.ts';
import type { Principal } from '../../src/shared/principal.ts';
import type { ResourcesSample } from '../../src/shared/resources-sample.ts';
import type { TestDatabase } from './database.ts';
import { resourcesRow } from './domain-doubles/rows.ts';
import { eventually } from './eventually.ts';
import { Society } from './instances.ts';
import { openTestLive, type TestLive } from './live.ts';
import { createManualClock, type ManualClock } from './manual-clock.ts';
import { plainHttp } from './plain-http.ts';
import { silentLogger } from './silent-logger.ts';

export const admin: Principal = { keyId: newId(), owner: 'the admin', role: 'ADMIN' };
export const operator: Principal = { keyId: newId(), owner: 'the operator', role: 'OPERATOR' };
export const never = new AbortController().signal;

/** Keeps what it is given; what it should do besides a test says. */
export class RecordingChannel implements AlertChannel {
  readonly id: string;
  readonly name = 'Recording';
  readonly notices: AlertNotice[] = [];
  onDeliver: (alert: AlertNotice, signal: AbortSignal) => Promise<void> = () => Promise.resolve();

  constructor(id = 'recording') {
    this.id = id;
  }

  async deliver(alert: AlertNotice, signal: AbortSignal): Promise<void> {
    this.notices.push(alert);
    await this.onDeliver(alert, signal);
  }
}

/** One service process: its own queue, its own connection to the events, and what it measures of its machine. */
export class AlertsProcess {
  readonly room: AlertsRoom;
  readonly instances: Instances;
  readonly live: TestLive;
  readonly channels: readonly AlertChannel[];
  readonly #world: AlertsWorld;
  readonly #jobs: PgBossQueue;

  constructor(world: AlertsWorld, live: TestLive, { host = 'here', channels, deps = {} }: { host?: string; channels?: readonly AlertChannel[]; deps?: Partial<AlertsDeps> }) {
    this.#world = world;
    this.live = live;
    this.instances = world.society.join(host);
    this.channels = channels ?? [world.channel];
    this.#jobs = new PgBossQueue({ database: { type: 'url', url: world.database.url }, logger: silentLogger, soleWorker: false });
    this.room = createAlerts({
      em: world.database.orm.em,
      events: live.events,
      jobs: this.#jobs,
      clock: world.clock,
      logger: silentLogger,
      instances: this.instances,
      http: plainHttp,
      system: { resources: () => Promise.resolve(world.sample) },
      deployments: world.deployments,
      downloads: world.downloads,
      webhook: null,
      channels: this.channels,
      delivery: { retrySeconds: [0, 0] },
      ...deps,
    });
  }

  async start(): Promise<this> {
    await this.#jobs.start();
    await this.room.start();
    return this;
  }

  /** As the service ends it. */
  async stop(): Promise<void> {
    await this.room.stop();
    await this.#jobs.stop(AbortSignal.timeout(5_000));
    await this.live.close();
  }

  /** A sample of the machine, as the sampler of this process publishes it. */
  measure(change: Partial<ResourcesSample> = {}): void {
    this.live.events.publish('system.sampled', 'system', { sample: { ...this.#world.sample, ...change } });
  }
}

const pageOf = <T>(items: readonly T[]): Promise<Page<T>> => Promise.resolve({ items: [...items], nextCursor: null, total: null });

/** Deployments and downloads that a test makes up, watched by any number of processes on one database. */
export class AlertsWorld {
  readonly database: TestDatabase;
  readonly society = new Society();
  readonly channel = new RecordingChannel();
  clock: ManualClock = createManualClock();
  sample: ResourcesSample = resourcesRow();
  readonly deploymentRows = new Map<string, WatchedDeployment>();
  readonly downloadRows = new Map<string, WatchedDownload>();
  readonly #processes: AlertsProcess[] = [];
  #installationId = newId();
  #shared: Promise<TestLive> | null = null;

  readonly deployments = {
    find: (id: string) => Promise.resolve(this.deploymentRows.get(id) ?? null),
    list: (_filter: object, _page: PageRequest) => pageOf([...this.deploymentRows.values()]),
  };
  readonly downloads = {
    find: (id: string) => Promise.resolve(this.downloadRows.get(id) ?? null),
    list: ({ status }: { status?: string }, _page: PageRequest) => pageOf([...this.downloadRows.values()].filter((row) => row.status === status)),
  };

  constructor(database: TestDatabase) {
    this.database = database;
  }

  /** Nothing of an earlier test is left; without rules but those that a test makes, unless it wants the usual ones. */
  async reset({ withDefaults = false }: { withDefaults?: boolean } = {}): Promise<void> {
    const em = this.database.em();
    await em.nativeDelete(AlertDelivery, {});
    await em.nativeDelete(Alert, {});
    await em.nativeDelete(AlertRule, {});
    await em.nativeDelete(AlertRuleSeed, {});
    if (!withDefaults) {
      const { defaultRules } = await import('../../src/domains/system/alerts/default-rules.ts');
      for (const { seed } of defaultRules) await em.insert(AlertRuleSeed, { id: seed, madeAt: new Date(0) });
    }
    this.clock = createManualClock();
    this.#installationId = newId();
    this.sample = resourcesRow();
    this.deploymentRows.clear();
    this.downloadRows.clear();
    this.channel.notices.length = 0;
    this.channel.onDeliver = () => Promise.resolve();
  }

  async open(options: ConstructorParameters<typeof AlertsProcess>[2] = {}): Promise<AlertsProcess> {
    const live = await this.#live();
    const process = await new AlertsProcess(this, live, options).start();
    this.#processes.push(process);
    return process;
  }

  async stopAll(): Promise<void> {
    await Promise.all(this.#processes.splice(0).map((process) => process.stop()));
    await (await this.#shared)?.close();
    this.#shared = null;
  }

  /** Over Redis each has its own and hears of the others; without one they have one in common. */
  async #live(): Promise<TestLive> {
    if (process.env['TEST_REDIS_URL'] !== undefined) return await openTestLive({ clock: systemClock, installationId: this.#installationId });
    this.#shared ??= openTestLive({ clock: systemClock });
    const { events, tokenStream, requestLimiter } = await this.#shared;
    return { events, tokenStream, requestLimiter, close: () => Promise.resolve() };
  }

  forget(process: AlertsProcess): void {
    this.#processes.splice(this.#processes.indexOf(process), 1);
  }

  /** A deployment gets into a state, and the process that runs it says so. */
  deployment(by: AlertsProcess, id: string, status: string): void {
    this.deploymentRows.set(id, { id, name: `d-${id.slice(-4)}`, status });
    by.live.events.publish('deployment.changed', id, { deploymentId: id, status });
  }

  download(by: AlertsProcess, id: string, status: string, downloadedBytes = 0): void {
    this.downloadRows.set(id, { id, modelId: 'huggingface:org/model', status, downloadedBytes });
    by.live.events.publish('download.changed', id, { taskId: id, status });
  }

  async rule(by: AlertsProcess, input: Partial<CreateAlertRule> = {}): Promise<AlertRuleView> {
    return await by.room.alerts.createRule({ name: 'rule', metric: 'deployment_failed', severity: 'warning', ...input }, admin);
  }

  async alerts(by: AlertsProcess): Promise<readonly AlertView[]> {
    return (await by.room.alerts.list({}, { limit: 100 })).items;
  }

  async reaches(by: AlertsProcess, status: AlertView['status']): Promise<AlertView> {
    return await eventually(`an alert is ${status}`, async () => (await this.alerts(by)).find((alert) => alert.status === status) ?? null, 20_000);
  }

  async told(count: number): Promise<void> {
    await eventually(`${count} notices, not ${this.channel.notices.length}`, () => this.channel.notices.length >= count, 20_000);
  }
}
