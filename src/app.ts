/** The composition root: what constructs is here and in app-models.ts. What is created first ends last. */
import path from 'node:path';
import { createRuntimes, createSources } from './app-models.ts';
import { createHttpServer, type HttpServer } from './adapters/server.ts';
import { createGuard } from './adapters/http/guard.ts';
import { createMetricsHandler, createReadinessHandler } from './adapters/http/probes.ts';
import { createAuthenticate } from './adapters/http/origin.ts';
import { createKeyWatch } from './adapters/http/key-watch.ts';
import { createGraphqlEndpoint } from './adapters/graphql/create-endpoint.ts';
import type { GraphqlServices } from './adapters/graphql/context.ts';
import { createOpenAi } from './adapters/openai/create-openai.ts';
import { createRest } from './adapters/rest/create-rest.ts';
import { createSockets } from './adapters/websocket/create-sockets.ts';
import { createAudit, type AuditModule } from './domains/access/audit/create-audit.ts';
import { createAccess, type AccessModule } from './domains/access/create-access.ts';
import { createCatalog } from './domains/catalog/catalog.service.ts';
import type { Catalog } from './domains/catalog/catalog.ts';
import { createChat, type ChatModule } from './domains/chat/create-chat.ts';
import { createDeployments, type DeploymentsRoom } from './domains/deployments/create-deployments.ts';
import { findByNameOrId } from './domains/deployments/find-by-name-or-id.ts';
import { createDownloads, type DownloadsRoom } from './domains/downloads/create-downloads.ts';
import { createClamdScanner } from './domains/downloads/scanners/clamd-scanner.ts';
import { createOllamaStore } from './domains/downloads/transfer/ollama-pull.ts';
import { createAlerts, type AlertsDeps, type AlertsRoom } from './domains/system/alerts/create-alerts.ts';
import { createSystem, type SystemRoom } from './domains/system/create-system.ts';
import { ConfigError, type Config } from './infrastructure/config/config.ts';
import { lockDataFolder, makePrivateFolder, prepareDataFolder, type DataFolder } from './infrastructure/data-folder/data-folder.ts';
import { readAdminKey, removeServerFile, writeAdminKey, writeServerFile } from './infrastructure/data-folder/folder-files.ts';
import { openDatabase, type Database } from './infrastructure/database/database.ts';
import { openLive } from './infrastructure/events/open-live.ts';
import { createOutgoingHttp } from './infrastructure/http/outgoing-http.ts';
import { createStreamingHttp } from './infrastructure/http/streaming-http.ts';
import { PgBossQueue } from './infrastructure/jobs/pg-boss-queue.ts';
import { InstanceRegistry } from './infrastructure/instances/instance-registry.ts';
import { keepHouse } from './infrastructure/lifecycle/housekeeping.ts';
import { daysAgo, standingChores } from './infrastructure/lifecycle/standing-chores.ts';
import { describeListenFault, reachableUrl } from './infrastructure/lifecycle/own-address.ts';
import { Runner } from './infrastructure/lifecycle/runner.ts';
import { createMetrics, type Metrics } from './infrastructure/metrics/metrics.ts';
import { builtInIds } from './plugins/built-in-ids.ts';
import { openPlugins, type OpenedPlugins } from './plugins/open-plugins.ts';
import { systemClock } from './infrastructure/system-clock.ts';
import type { PluginHost } from './plugins/plugin.ts';
import { StopReason } from './shared/abort.ts';
import type { Logger } from './shared/logger.ts';
import { isOperatorKey } from './shared/operator-key.ts';
import type { OutgoingHttp } from './shared/outgoing-http.ts';
import { rememberFor } from './shared/remember.ts';

export type AppOptions = { config: Config; logger: Logger; version: string };

export type StartedApp = { url: string; dataDir: string; adminKeyFile: string; databaseKind: Database['kind'] };

export type App = {
  /** Resolves when the service is ready; what it had begun is undone by `stop` when it rejects. */
  start(signal: AbortSignal): Promise<StartedApp>;
  /** Ends everything in reverse order; answers whether that went without a fault. */
  stop(): Promise<boolean>;
  /** A stop, running or to come, waits for no answer any more. */
  hurry(): void;
  /** The name of the plug-in whose own an uncaught fault is; null when it is ours. */
  blame(error: unknown): string | null;
};

/** Running answers get this long. */
const drainMs = 30_000;
/** For the whole shutdown, the drain included; what is not done by then is cut. */
const stopDeadlineMs = 50_000;
/** For open requests once the answers have ended. */
const closeMs = 2_000;
/** Figures of the machine come every 2 s; what downloads have reserved needs the database. */
const volumesMaxAgeMs = 10_000;
const choresEveryMs = 6 * 3_600_000;
/** What limited keys took of tokens; only the present day counts. */
const tokenUsageDays = 30;
/** Those that are over. */
const alertDays = 30;

export function createApp(options: AppOptions): App {
  const runner = new Runner(options.logger);
  let blame: App['blame'] = () => null;
  return {
    start: (signal) => start({ ...options, onPlugins: (opened) => (blame = opened.blame) }, runner, signal),
    stop: () => runner.stop(stopDeadlineMs),
    hurry: () => runner.hurry(),
    blame: (error) => blame(error),
  };
}

type StartOptions = AppOptions & { onPlugins: (opened: OpenedPlugins) => void };

async function start(options: StartOptions, runner: Runner, signal: AbortSignal): Promise<StartedApp> {
  const base = await openFoundation(options, runner, signal);
  const rooms = createRooms(options, base, runner);
  await ensureAdminKey(options, base.folder, rooms.access);
  const { server, closeSockets } = createFront(options, base, rooms);
  await rooms.system.start();
  // Before the first request: what an earlier process left unfinished.
  await rooms.chat.start();
  await base.jobs.start();
  await rooms.deployments.start(signal);
  runner.defer('deployments', (deadline) => rooms.deployments.stop(deadline));
  await rooms.downloads.start();
  await rooms.alerts.start();
  base.instances.watch();
  startHousekeeping(options, base, rooms, runner);
  const { host, port } = options.config.server;
  const address = await server.listen(host, port).catch((error: unknown) => {
    throw describeListenFault(error, { host, port });
  });
  runner.defer('HTTP server', (deadline) => server.close(AbortSignal.any([deadline, AbortSignal.timeout(closeMs)])));
  runner.defer('sockets', closeSockets);
  runner.defer('chat', (deadline) => rooms.chat.stop(AbortSignal.any([deadline, AbortSignal.timeout(drainMs)])));
  runner.defer('downloads', (deadline) => rooms.downloads.stop(deadline));
  runner.defer('alerts', () => rooms.alerts.stop());
  runner.defer('new requests', () => server.drain());
  const url = reachableUrl(address);
  await writeServerFile(base.folder, { pid: process.pid, url, version: options.version, started_at: new Date().toISOString() });
  runner.defer('server.json', () => removeServerFile(base.folder, process.pid));
  return { url, dataDir: base.folder.path, adminKeyFile: base.folder.adminKeyFile, databaseKind: base.database.kind };
}

function startHousekeeping({ config, logger }: AppOptions, { database }: Foundation, { access, alerts, audit, downloads }: Rooms, runner: Runner): void {
  const stopping = new AbortController();
  const chores = [
    ...standingChores(database.orm.em, systemClock),
    { name: 'used tokens', run: () => access.purgeUsage(daysAgo(systemClock, tokenUsageDays)) },
    { name: 'ended downloads', run: () => downloads.purge() },
    { name: 'alerts', run: () => alerts.purge(daysAgo(systemClock, alertDays)) },
    { name: 'audit log', run: () => audit.purge(daysAgo(systemClock, config.access.audit.days), config.access.audit.entriesMax) },
  ];
  const ended = keepHouse({ chores, everyMs: choresEveryMs, clock: systemClock, logger }, stopping.signal);
  runner.defer('housekeeping', async () => {
    stopping.abort(new StopReason('shutdown'));
    await ended;
  });
}

type Foundation = Awaited<ReturnType<typeof openFoundation>>;

async function openFoundation({ config, logger, version, onPlugins }: StartOptions, runner: Runner, signal: AbortSignal) {
  const folder = await prepareDataFolder(config.data.dir);
  const lock = await lockDataFolder(folder);
  runner.defer('data folder lock', () => lock.release());
  // Models fetched into our own folder are as private as the rest of it.
  if (path.dirname(config.data.modelsDir) === folder.path) await makePrivateFolder(config.data.modelsDir);
  const http = createOutgoingHttp({ userAgent: userAgentOf(version) });
  runner.defer('outgoing HTTP', () => http.close());
  // Before the database: what they fault is told at once.
  const plugins = await openPlugins({ modules: config.plugins, from: process.cwd(), taken: builtInIds, hostFor: pluginHosts(folder, http.request, logger), logger }, signal);
  runner.defer('plug-ins', (deadline) => plugins.close(deadline));
  if (plugins.faults.length > 0) throw new ConfigError(plugins.faults);
  onPlugins(plugins);
  const database = await openDatabase({ config: config.database, dataDir: folder.path, logger }, signal);
  runner.defer('database', (deadline) => database.stop(deadline));
  const instances = await InstanceRegistry.register({ em: database.orm.em, clock: systemClock, logger: logger.child({ room: 'instances' }), isSole: isSoleWorker(database) });
  runner.defer('instance', () => instances.stop());
  const { installationId, self } = instances;
  const live = await openLive({ config: config.redis, clock: systemClock, logger, instanceId: self.id, installationId }, signal);
  runner.defer('live events', (deadline) => live.close(deadline));
  const inference = createStreamingHttp();
  runner.defer('inference HTTP', () => inference.close());
  const jobs = new PgBossQueue({ database: database.access, logger, soleWorker: isSoleWorker(database) });
  runner.defer('jobs', (deadline) => jobs.stop(deadline));
  const metrics: Metrics = createMetrics(version);
  return { folder, plugins, database, instances, live, events: live.events, tokenStream: live.tokenStream, cache: live.cache, http: http.request, inference: inference.request, inferenceFetch: inference.fetch, jobs, metrics, startedAt: new Date() };
}

const pluginHosts =
  (folder: DataFolder, http: OutgoingHttp, logger: Logger) =>
  async (name: string): Promise<PluginHost> => {
    const dataDir = path.join(folder.path, 'plugins', name);
    await makePrivateFolder(path.dirname(dataDir));
    await makePrivateFolder(dataDir);
    return { dataDir, http, clock: systemClock, logger: logger.child({ plugin: name }) };
  };

type Rooms = { access: AccessModule; audit: AuditModule; catalog: Catalog; downloads: DownloadsRoom; deployments: DeploymentsRoom; chat: ChatModule; system: SystemRoom; alerts: AlertsRoom };

/** An embedded database has this one service: what a killed predecessor held is free at once. */
const isSoleWorker = ({ kind }: Database): boolean => kind !== 'postgresql';
const userAgentOf = (version: string): string => `llm-manager/${version}`;

function createRooms({ config, logger, version }: AppOptions, base: Foundation, runner: Runner): Rooms {
  const { database, events, jobs, folder, inference, tokenStream } = base;
  const { huggingface, ollama } = config.sources;
  const common = { em: database.orm.em, events, clock: systemClock, logger, instances: base.instances };
  const access = createAccess({ ...common, findDeployment: (nameOrId: string) => findByNameOrId(deployments.deployments, nameOrId) });
  runner.defer('access', () => access.stop());
  const audit = createAudit(common);
  runner.defer('audit log', () => audit.stop());
  const disks = [{ path: folder.path, purpose: 'data' as const }, ...[huggingface.cacheDir, config.data.modelsDir].map((models) => ({ path: models, purpose: 'models' as const }))];
  // The rooms below are made after this one; nothing asks before `start`.
  const volumes = rememberFor(volumesMaxAgeMs, systemClock, () => downloads.installed.volumes());
  const reservedBytes = async (disk: string): Promise<number> => (await volumes()).find((volume) => volume.path === disk)?.reservedBytes ?? 0;
  const system = createSystem({ events, clock: systemClock, logger, disks, reservedBytes, deployments: () => deployments.uses() });
  runner.defer('system', () => system.stop());
  const sources = createSources(config, { ...base, clock: systemClock, logger });
  const catalog = createCatalog({ sources, cache: base.cache, clock: systemClock, logger, machineMemory: system.machineMemory });
  const downloads: DownloadsRoom = createDownloads({
    ...common,
    catalog,
    sources,
    jobs,
    soleWorker: isSoleWorker(database),
    userAgent: userAgentOf(version),
    scanners: [...(config.downloads.clamd ? [createClamdScanner({ endpoint: config.downloads.clamd })] : []), ...base.plugins.scanners],
    ollama: createOllamaStore({ host: ollama.host, registryEndpoint: ollama.registry, hubEndpoint: huggingface.endpoint, fetch: base.inferenceFetch }),
    isModelInUse: (installedModelId: string) => deployments.deployments.usesInstalledModel(installedModelId),
    config: downloadsConfigOf(config, folder),
  });
  const deployments: DeploymentsRoom = createDeployments({
    ...common,
    runtimes: createRuntimes(config, base, system.gpuMemoryOf),
    installed: downloads.installed,
    logDir: path.join(folder.logs, 'deployments'),
    ...system.forModels,
    http: inference,
    config: { onStop: config.deployments.onStop },
  });
  const chat = createChat({ ...common, deployments: deployments.deployments, tokenStream, http: inference, budget: access.budget, limits: chatLimitsOf(config) });
  const alerts = createAlertsRoom(config, base, common, { system: system.system, deployments: deployments.deployments, downloads: downloads.downloads });
  return { access, audit, catalog, downloads, deployments, chat, system, alerts };
}

function downloadsConfigOf({ downloads, sources, data }: Config, folder: DataFolder): Parameters<typeof createDownloads>[0]['config'] {
  const { parallel, parallelPerSource, connectionsPerHost, maxBytesPerSecond } = downloads;
  const { cacheDir: hfCacheDir } = sources.huggingface;
  return { parallel, parallelPerSource, connectionsPerHost, maxBytesPerSecond, hfCacheDir, modelsDir: data.modelsDir, dataDir: folder.path, adoptAtStart: true };
}

type Common = Pick<AlertsDeps, 'em' | 'events' | 'clock' | 'logger' | 'instances'>;

function createAlertsRoom({ alerts: { webhook } }: Config, { jobs, http, plugins, metrics }: Foundation, common: Common, rooms: Pick<AlertsDeps, 'system' | 'deployments' | 'downloads'>): AlertsRoom {
  const address = webhook && { url: webhook.url.reveal(), secret: webhook.secret?.reveal() ?? null };
  const room = createAlerts({ ...common, ...rooms, jobs, http, webhook: address, channels: plugins.alertChannels });
  // Without a database the other figures are still worth having.
  metrics.gauge('llm_manager_open_alerts', 'Alerts that are not resolved.', 'severity', () => room.alerts.countOpen().catch(() => new Map<string, number>()));
  return room;
}

function chatLimitsOf({ chat: { stopUnreadAfterSeconds: seconds } }: Config): { stopUnreadAfterMs: number | null } {
  return { stopUnreadAfterMs: seconds === null ? null : seconds * 1_000 };
}

/** The operator's key, else the one in the file, else a new one; the file holds it for commands on this machine. */
async function ensureAdminKey({ config, logger }: AppOptions, folder: DataFolder, { access }: AccessModule): Promise<void> {
  const read = await readAdminKey(folder);
  const stored = read !== null && isOperatorKey(read) ? read : null;
  if (read !== null && stored === null) logger.warn({ path: folder.adminKeyFile }, 'what the file holds is no key; it gets a new one');
  const secret = await access.ensureAdminKey(config.access.adminKey?.reveal() ?? stored);
  if (stored !== secret) await writeAdminKey(folder, secret);
}

function servicesOf(version: string, { startedAt, database, live }: Foundation, rooms: Rooms): GraphqlServices {
  return {
    catalog: rooms.catalog,
    downloads: rooms.downloads.downloads,
    installed: rooms.downloads.installed,
    storageJobs: rooms.downloads.storageJobs,
    deployments: rooms.deployments.deployments,
    chat: rooms.chat.chat,
    system: rooms.system.system,
    access: rooms.access.access,
    auditLog: rooms.audit.log,
    auditTrail: rooms.audit.trail,
    alerts: rooms.alerts.alerts,
    serverInfo: () => ({
      name: 'llm-manager',
      version,
      startedAt,
      database: database.kind,
      events: live.kind,
      platform: `${process.platform}-${process.arch}`,
      nodeVersion: process.version,
    }),
  };
}

function createFront({ config, logger, version }: AppOptions, base: Foundation, rooms: Rooms): { server: HttpServer; closeSockets: () => void } {
  const access = rooms.access.access;
  const audit = rooms.audit.log;
  const authenticate = createAuthenticate(access, audit);
  const limiter = base.live.requestLimiter;
  const { onRevoked, close: closeKeyWatch } = createKeyWatch({ events: base.events, access, logger });
  const services = servicesOf(version, base, rooms);
  const graphql = createGraphqlEndpoint({ services, logger, authenticate, limiter, onRevoked });
  const rest = createRest({ graphql: graphql.graphql, chat: services.chat, audit, onRevoked, version });
  const openAi = createOpenAi({ deployments: rooms.deployments.deployments, relays: rooms.chat.relays, audit, onRevoked });
  const sockets = createSockets({ graphql: graphql.graphql, authenticate, limiter, onRevoked, logger });
  const { host, publicUrls, allowedOrigins } = config.server;
  const server = createHttpServer({
    guard: createGuard({ host, publicUrls, allowedOrigins }),
    authenticate,
    limiter,
    http: [
      { prefix: '/ready', handle: createReadinessHandler({ needed: { database: (signal) => base.database.ping(signal), queue: (signal) => base.jobs.ping(signal) }, useful: { events: base.live.ping } }) },
      { prefix: '/metrics', handle: createMetricsHandler(base.metrics.render) },
      ...graphql.http,
      ...rest.http,
      ...openAi.http,
    ],
    upgrades: [...graphql.upgrades, ...sockets.upgrades],
    logger,
    observe: base.metrics.observeHttp,
  });
  const closeSockets = (): void => {
    closeKeyWatch();
    graphql.close();
    sockets.close();
  };
  return { server, closeSockets };
}
