import { stopCauseOf } from '../../../shared/abort.ts';
import { abortable } from '../../../shared/async.ts';
import type { Clock } from '../../../shared/clock.ts';
import type { Instances } from '../../../shared/instances.ts';
import type { JobQueue } from '../../../shared/job-queue.ts';
import type { Logger } from '../../../shared/logger.ts';
import type { AlertChannel, AlertNotice } from './alert-channel.ts';
import type { AlertDeliveryRepository, DeliveryRow } from './alert-delivery.repository.ts';
import type { AlertView } from './types.ts';

export type DeliveriesOptions = {
  repository: AlertDeliveryRepository;
  findAlert: (id: string) => Promise<AlertView | null>;
  channels: ReadonlyMap<string, AlertChannel>;
  jobs: JobQueue;
  instances: Pick<Instances, 'onDeath'>;
  clock: Clock;
  logger: Logger;
  /** Before the second attempt, the third and so on; the last attempt is the one after them. */
  retrySeconds?: readonly number[];
  /** For one attempt. */
  limitMs?: number;
};

/** One each: a slow channel keeps no other one waiting, and a process takes only what it has a channel for. */
const queueOf = (channel: string): string => `alert-delivery-${channel}`;
/** An hour and a half in all: a receiver that is updated comes back within that. */
const retrySecondsDefault = [5, 15, 60, 300, 1_200, 3_600] as const;
const limitMsDefault = 15_000;
const errorCharsMax = 300;
/** After the queue has failed to take one. */
const againMs = 5_000;
/** What nobody has a channel for by then is no news any more. */
const unclaimedMs = 86_400_000;

/**
 * Brings what is to be told of alerts to the channels, by the durable queue: at least once, whatever is killed. Each
 * attempt is a job of its own, so that one that waits for its turn keeps no other one waiting.
 */
export class AlertDeliveries {
  readonly #options: DeliveriesOptions;
  readonly #stopping = new AbortController();
  readonly #enqueueing = new Set<Promise<void>>();
  #stopWatching: () => void = () => undefined;

  constructor(options: DeliveriesOptions) {
    this.#options = options;
  }

  /** Takes up what was not delivered when an earlier process ended. Once the job queue has started. */
  async start(): Promise<void> {
    const { jobs, channels, instances } = this.#options;
    this.#stopWatching = instances.onDeath(() => this.#recover());
    for (const channel of channels.values()) await jobs.work(queueOf(channel.id), 1, (job, signal) => this.#attempt(job.subjectId, channel, signal));
    await this.#recover();
  }

  /** Before the job queue stops, which ends the attempts under way: they are made again. */
  async stop(): Promise<void> {
    this.#stopWatching();
    this.#stopping.abort();
    await Promise.all(this.#enqueueing);
  }

  /** Those that were just written; what the queue does not take now it gets later. Never throws. */
  add(ids: readonly string[]): void {
    for (const id of ids) {
      const work = this.#addOne(id).finally(() => this.#enqueueing.delete(work));
      this.#enqueueing.add(work);
    }
  }

  /** Gives up what has waited for a day because no process has its channel. */
  async giveUpUnclaimed(): Promise<void> {
    const { repository, channels, clock } = this.#options;
    const before = clock.now().getTime() - unclaimedMs;
    for (const row of await repository.pending()) {
      if (row.attempts === 0 && row.createdAt.getTime() < before && !channels.has(row.channel)) await this.#giveUp(row, 0, `No process has a channel ${row.channel}.`);
    }
  }

  async #addOne(id: string): Promise<void> {
    const { repository, clock, logger } = this.#options;
    const { signal } = this.#stopping;
    const isOver = (): boolean => signal.aborted;
    while (!isOver()) {
      try {
        const row = await repository.find(id);
        if (row?.status === 'pending') await this.#enqueue(row);
        return;
      } catch (err) {
        logger.warn({ err, deliveryId: id }, 'an alert could not be queued for delivery; it is tried again');
        await clock.sleep(againMs, signal).catch(() => undefined);
      }
    }
  }

  async #recover(): Promise<void> {
    for (const row of await this.#options.repository.pending()) await this.#enqueue(row);
  }

  /** The subject names the attempt: while one runs the next can wait in the queue already. */
  async #enqueue({ id, attempts, channel, dueAt }: Pick<DeliveryRow, 'id' | 'attempts' | 'channel' | 'dueAt'>): Promise<void> {
    const waitMs = dueAt.getTime() - this.#options.clock.now().getTime();
    const later = waitMs > 0 ? { startAfterSeconds: Math.ceil(waitMs / 1000) } : {};
    await this.#options.jobs.enqueue(queueOf(channel), `${id}:${attempts + 1}`, later);
  }

  async #attempt(subject: string, channel: AlertChannel, signal: AbortSignal): Promise<void> {
    const { repository, findAlert } = this.#options;
    const [id = '', number = ''] = subject.split(':');
    const attempt = Number(number);
    const row = await repository.find(id);
    if (row?.status !== 'pending') return;
    if (row.attempts >= attempt) {
      // Its end was noted by a process that died before it could ask for the next one.
      await this.#enqueue(row);
      return;
    }
    const alert = await findAlert(row.alertId);
    if (alert) await this.#deliver({ row, alert, channel, attempt }, signal);
    else await this.#giveUp(row, row.attempts, 'The alert is gone.');
  }

  async #deliver({ row, alert, channel, attempt }: { row: DeliveryRow; alert: AlertView; channel: AlertChannel; attempt: number }, signal: AbortSignal): Promise<void> {
    const { repository, clock, logger, retrySeconds = retrySecondsDefault, limitMs = limitMsDefault } = this.#options;
    const limit = AbortSignal.timeout(limitMs);
    const ended = AbortSignal.any([signal, limit]);
    try {
      await abortable(Promise.resolve(channel.deliver(noticeOf(row, alert), ended)), ended);
      await repository.end(row.id, 'delivered', { attempts: attempt, error: null, at: clock.now() });
    } catch (error) {
      // A shutdown is no failure of the channel; the job comes again.
      if (signal.aborted) throw stopCauseOf(signal.reason) ? signal.reason : error;
      const text = limit.aborted ? `It took longer than ${limitMs / 1000} s.` : textOf(error);
      const waitSeconds = retrySeconds[attempt - 1];
      logger.warn({ alertId: alert.id, channel: channel.id, attempt, err: error, ...(waitSeconds === undefined ? {} : { againInSeconds: waitSeconds }) }, 'an alert could not be delivered');
      if (waitSeconds === undefined) {
        await this.#giveUp(row, attempt, text);
        return;
      }
      const dueAt = new Date(clock.now().getTime() + waitSeconds * 1000);
      await repository.postpone(row.id, { attempts: attempt, error: text, dueAt });
      await this.#enqueue({ ...row, attempts: attempt, dueAt });
    }
  }

  async #giveUp({ id, alertId, channel }: DeliveryRow, attempts: number, error: string): Promise<void> {
    const { repository, clock, logger } = this.#options;
    logger.error({ alertId, channel, attempts, error }, 'an alert is given up for this channel');
    await repository.end(id, 'failed', { attempts, error, at: clock.now() });
  }
}

function noticeOf({ id, event }: DeliveryRow, alert: AlertView): AlertNotice {
  const { ruleId, ruleName, metric, severity, target, message, value, comparison, threshold, raisedAt, resolvedAt, resolvedReason } = alert;
  // It may be over by the time at which it is told that it was raised.
  const end = event === 'resolved' ? { resolvedAt, resolvedReason } : { resolvedAt: null, resolvedReason: null };
  return { deliveryId: id, event, alertId: alert.id, rule: { id: ruleId, name: ruleName }, metric, severity, target, message, value, comparison, threshold, raisedAt, ...end };
}

function textOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return (text.split('\n')[0] ?? '').slice(0, errorCharsMax) || 'It failed.';
}
