import type { SqlEntityManager } from '@mikro-orm/sql';
import { StopReason } from '../../../shared/abort.ts';
import type { Clock } from '../../../shared/clock.ts';
import type { EventBus } from '../../../shared/event-bus.ts';
import type { Instances } from '../../../shared/instances.ts';
import type { JobQueue } from '../../../shared/job-queue.ts';
import type { Logger } from '../../../shared/logger.ts';
import type { OutgoingHttp } from '../../../shared/outgoing-http.ts';
import type { System } from '../types.ts';
import type { AlertChannel } from './alert-channel.ts';
import { AlertDeliveryRepository } from './alert-delivery.repository.ts';
import { AlertRepository } from './alert.repository.ts';
import { AlertRuleRepository } from './alert-rule.repository.ts';
import { AlertsService } from './alerts.service.ts';
import { Board } from './board.ts';
import { createLogChannel } from './channels/log-channel.ts';
import { createWebhookChannel } from './channels/webhook-channel.ts';
import { defaultRules } from './default-rules.ts';
import { AlertDeliveries, type DeliveriesOptions } from './deliveries.ts';
import { AlertEvaluator } from './evaluator.ts';
import { Followers, type DeploymentsToWatch, type DownloadsToWatch } from './followers.ts';
import type { Alerts } from './types.ts';

export type AlertsDeps = {
  em: SqlEntityManager;
  events: EventBus;
  jobs: JobQueue;
  clock: Clock;
  logger: Logger;
  instances: Instances;
  http: OutgoingHttp;
  system: Pick<System, 'resources'>;
  deployments: DeploymentsToWatch;
  downloads: DownloadsToWatch;
  /** Null = there is none. */
  webhook: { url: string; secret: string | null } | null;
  /** Beside the built-in ones. */
  channels?: readonly AlertChannel[];
  /** Default: those of `AlertDeliveries`. */
  delivery?: Pick<DeliveriesOptions, 'retrySeconds' | 'limitMs'>;
};

export type AlertsRoom = {
  alerts: Alerts;
  /** Judges and delivers from then on. Once the job queue has started. */
  start(): Promise<void>;
  /** Before the job queue stops. */
  stop(): Promise<void>;
  /** Removes alerts that were over before; answers how many. */
  purge(before: Date): Promise<number>;
};

/** Alerts that are over, beyond which the oldest go, however young they are. */
const overMax = 10_000;

/** Alerts, wired. */
export function createAlerts(deps: AlertsDeps): AlertsRoom {
  const { em, events, jobs, clock, instances, system, deployments, downloads } = deps;
  const logger = deps.logger.child({ room: 'alerts' });
  const alerts = new AlertRepository(em);
  const rules = new AlertRuleRepository(em);
  const deliveryRows = new AlertDeliveryRepository(em);
  const channels = new Map(channelsOf(deps, logger).map((channel) => [channel.id, channel]));
  const channelIds = [...channels.keys()];
  const board = new Board(instances.self.host);
  const deliveries = new AlertDeliveries({ repository: deliveryRows, findAlert: (id) => alerts.find(id), channels, jobs, instances, clock, logger, ...deps.delivery });
  const evaluator = new AlertEvaluator({
    board,
    rules,
    alerts,
    events,
    instances,
    clock,
    logger,
    refresh: (target) => followers.refresh(target),
    channelsOf: (rule) => rule.channels ?? channelIds,
    onDeliveries: (ids) => deliveries.add(ids),
  });
  const onNews = (): void => evaluator.wake();
  const followers: Followers = new Followers({ board, events, deployments, downloads, clock, logger, onNews, onRules: () => evaluator.readRules(), onAlerts: () => evaluator.readAlerts() });
  const service = new AlertsService({ alerts, rules, deliveries: deliveryRows, channelIds, events, deployments, resources: () => system.resources(new AbortController().signal), clock, logger });
  const stopping = new AbortController();
  let running: Promise<unknown> = Promise.resolve();
  return {
    alerts: service,
    start: async () => {
      await plantDefaults(rules, clock);
      await deliveries.start();
      const following = followers.start(stopping.signal);
      board.sample(await system.resources(stopping.signal));
      const stopWatching = instances.onDeath(() => evaluator.inherit());
      stopping.signal.addEventListener('abort', stopWatching, { once: true });
      running = Promise.all([following.ended, judgeFrom(following.opened, evaluator, logger, stopping.signal)]);
    },
    stop: async () => {
      stopping.abort(new StopReason('shutdown'));
      await running;
      await deliveries.stop();
    },
    purge: async (before) => {
      await deliveries.giveUpUnclaimed();
      return await alerts.purge(before, overMax);
    },
  };
}

async function judgeFrom(opened: Promise<void>, evaluator: AlertEvaluator, logger: Logger, signal: AbortSignal): Promise<void> {
  await opened;
  if (signal.aborted) return;
  await evaluator.inherit().catch((err: unknown) => logger.warn({ err }, 'alerts of processes that are gone could not be taken over'));
  await evaluator.run(signal);
}

function channelsOf({ http, webhook, clock, channels = [] }: AlertsDeps, logger: Logger): AlertChannel[] {
  const nowSeconds = (): number => clock.now().getTime() / 1000;
  return [createLogChannel(logger), ...(webhook ? [createWebhookChannel({ ...webhook, http, nowSeconds })] : []), ...channels];
}

async function plantDefaults(rules: AlertRuleRepository, clock: Clock): Promise<void> {
  for (const { seed, ...rule } of defaultRules) await rules.plant(seed, { ...rule, enabled: true, channels: null, createdBy: 'llm-manager' }, clock.now());
}
