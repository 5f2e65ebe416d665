import type { Clock } from '../../../shared/clock.ts';
import type { Delivery, EventBus, EventMap, Topic } from '../../../shared/event-bus.ts';
import type { Logger } from '../../../shared/logger.ts';
import type { Page, PageRequest } from '../../../shared/paging.ts';
import type { Board } from './board.ts';
import type { AlertTarget } from './types.ts';
import { movingStatuses, type WatchedDeployment, type WatchedDownload } from './readings.ts';

/** What the alerts need of the room of deployments. */
export type DeploymentsToWatch = {
  find(id: string): Promise<WatchedDeployment | null>;
  list(filter: Readonly<Record<string, never>>, page: PageRequest): Promise<Page<WatchedDeployment>>;
};
/** What they need of the room of downloads. */
export type DownloadsToWatch = {
  find(id: string): Promise<WatchedDownload | null>;
  list(filter: { status?: 'running' | 'retrying' | 'failed' }, page: PageRequest): Promise<Page<WatchedDownload>>;
};

export type FollowerDeps = {
  board: Board;
  events: EventBus;
  deployments: DeploymentsToWatch;
  downloads: DownloadsToWatch;
  clock: Clock;
  logger: Logger;
  /** The board says something new. */
  onNews: () => void;
  /** Rules were changed, here or in another process. */
  onRules: () => Promise<void>;
  /** Alerts were raised, acknowledged or resolved. */
  onAlerts: () => Promise<void>;
};

const pageSize = 100;
const pagesMax = 20;
/** After the database has failed; until then what was missed is not known. */
const againMs = 5_000;
const progressEveryMs = 1_000;

/** Keeps the board and the evaluator's view of rules and alerts up to date, each by the events that tell of changes. */
export class Followers {
  readonly #deps: FollowerDeps;

  constructor(deps: FollowerDeps) {
    this.#deps = deps;
  }

  /**
   * Listens from this call on. `opened` resolves once everything was read for the first time, `ended` when all has come
   * to an end after the signal.
   */
  start(signal: AbortSignal): { opened: Promise<void>; ended: Promise<void> } {
    const { board, clock, onNews, onRules, onAlerts, deployments } = this.#deps;
    const follows = [
      this.#follow('alert.rules_changed', { read: onRules, onEvent: onRules }, signal),
      this.#follow('alert.changed', { read: onAlerts, onEvent: onAlerts }, signal),
      this.#follow('deployment.changed', {
        read: async () => board.allDeployments(await allOf((page) => deployments.list({}, page))),
        onEvent: ({ deploymentId, removed }) => this.#readDeployment(deploymentId, removed === true),
      }, signal),
      this.#follow('download.changed', {
        read: async () => board.allDownloads(await this.#watchedDownloads(), clock.monotonicMs()),
        onEvent: ({ taskId, removed }) => this.#readDownload(taskId, removed === true),
      }, signal),
    ];
    const others = [this.#progress(signal), this.#samples(signal)];
    const opened = Promise.all(follows.map((follow) => follow.opened)).then(onNews);
    return { opened, ended: Promise.all([...follows.map((follow) => follow.ended), ...others]).then(() => undefined) };
  }

  /** Asks the room of a deployment or a download what it is now. */
  async refresh({ kind, id }: AlertTarget): Promise<void> {
    if (kind === 'deployment') await this.#readDeployment(id, false);
    if (kind === 'download') await this.#readDownload(id, false);
  }

  async #readDeployment(id: string, isRemoved: boolean): Promise<void> {
    const { board, deployments } = this.#deps;
    const view = isRemoved ? null : await deployments.find(id);
    if (view) board.deployment(view);
    else board.noDeployment(id);
  }

  async #readDownload(id: string, isRemoved: boolean): Promise<void> {
    const { board, downloads, clock } = this.#deps;
    const view = isRemoved ? null : await downloads.find(id);
    if (view) board.download(view, clock.monotonicMs());
    else board.noDownload(id);
  }

  async #watchedDownloads(): Promise<WatchedDownload[]> {
    const lists = await Promise.all([...movingStatuses, 'failed' as const].map((status) => allOf((page) => this.#deps.downloads.list({ status }, page))));
    return lists.flat();
  }

  /** Subscribed before the first reading, so that nothing falls in between; what fails is read as a whole again. */
  #follow<T extends Topic>(topic: T, { read, onEvent }: { read: () => Promise<void>; onEvent: (payload: EventMap[T]) => Promise<void> }, signal: AbortSignal): { opened: Promise<void>; ended: Promise<void> } {
    const { events, onNews } = this.#deps;
    const changes = events.subscribe(topic, { delivery: 'latest' }, signal);
    const opened = this.#until(read, topic, signal);
    const onChange = async (delivery: Delivery<T>): Promise<void> => {
      const isWhole = delivery.type === 'resync' || delivery.droppedBefore > 0;
      await (isWhole ? this.#until(read, topic, signal) : onEvent(delivery.payload).catch(() => this.#until(read, topic, signal)));
      onNews();
    };
    const run = async (): Promise<void> => {
      await opened;
      for await (const delivery of changes) await onChange(delivery);
    };
    return { opened, ended: run() };
  }

  /** Again and again until it succeeds or the signal aborts. */
  async #until(read: () => Promise<void>, topic: Topic, signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#deps;
    while (!signal.aborted) {
      try {
        await read();
        return;
      } catch (err) {
        logger.warn({ err, topic }, 'what alerts are about could not be read; it is tried again');
        await clock.sleep(againMs, signal).catch(() => undefined);
      }
    }
  }

  async #progress(signal: AbortSignal): Promise<void> {
    const { events, board, clock } = this.#deps;
    for await (const delivery of events.subscribe('download.progress', { delivery: 'latest', minIntervalMs: progressEveryMs }, signal)) {
      if (delivery.type === 'event') board.progress(delivery.payload.taskId, delivery.payload.progress.downloadedBytes, clock.monotonicMs());
    }
  }

  async #samples(signal: AbortSignal): Promise<void> {
    const { events, board, onNews } = this.#deps;
    for await (const delivery of events.subscribe('system.sampled', { delivery: 'latest' }, signal)) {
      if (delivery.type !== 'event') continue;
      board.sample(delivery.payload.sample);
      onNews();
    }
  }
}

async function allOf<T>(list: (page: PageRequest) => Promise<Page<T>>): Promise<T[]> {
  const all: T[] = [];
  let cursor: string | null | undefined;
  for (let pages = 0; pages < pagesMax && cursor !== null; pages += 1) {
    const page = await list({ limit: pageSize, withTotal: false, ...(cursor === undefined ? {} : { cursor }) });
    all.push(...page.items);
    cursor = page.nextCursor;
  }
  return all;
}
