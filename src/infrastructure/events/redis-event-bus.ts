import { abortable } from '../../shared/async.ts';
import type { Delivery, EventBus, EventMap, SubscribeOptions, Topic } from '../../shared/event-bus.ts';
import type { Logger } from '../../shared/logger.ts';
import type { RedisConnections } from '../redis/redis-connections.ts';
import type { InProcessEventBus } from './in-process-event-bus.ts';

export type RedisEventBusOptions = {
  /** Delivers within this process, with or without Redis. This bus closes it. */
  local: InProcessEventBus;
  redis: RedisConnections;
  /** Of this process. */
  instanceId: string;
  logger: Logger;
};

/** Figures of this machine concern nobody else. */
const localTopics: ReadonlySet<Topic> = new Set<Topic>(['system.sampled']);
/** On their way to Redis at once. Beyond that they are dropped, and the others are told to read the state again. */
const inFlightMax = 10_000;
const inFlightCharsMax = 8 * 1024 * 1024;

type Envelope = { from: string; resync: true } | { from: string; topic: Topic; key: string; payload: EventMap[Topic] };

/**
 * The EventBus of several processes: every event goes to this process's subscribers at once and to the others through
 * one channel of Redis. That one may lose events, and never silently: who missed any is told to `resync`.
 */
export class RedisEventBus implements EventBus {
  readonly #options: RedisEventBusOptions;
  readonly #channel: string;
  #inFlight = 0;
  #inFlightChars = 0;
  /** The others have missed something of ours. */
  #owesResync = false;
  #isClosed = false;

  constructor(options: RedisEventBusOptions) {
    this.#options = options;
    this.#channel = `${options.redis.prefix}:events`;
  }

  /** Resolves when the others' events come in; rejects with the signal's reason. */
  async start(signal: AbortSignal): Promise<void> {
    const { redis, local } = this.#options;
    redis.onResubscribed(this.#channel, () => local.resync());
    redis.onReady(() => this.#settleDebt());
    await abortable(redis.pubsub.subscribe(this.#channel, (message: unknown) => this.#receive(message)), signal);
  }

  publish<T extends Topic>(topic: T, key: string, payload: EventMap[T]): void {
    const { local, instanceId } = this.#options;
    local.publish(topic, key, payload);
    if (!this.#isClosed && !localTopics.has(topic)) this.#send({ from: instanceId, topic, key, payload });
  }

  subscribe<T extends Topic>(topic: T, options: SubscribeOptions, signal: AbortSignal): AsyncIterableIterator<Delivery<T>> {
    return this.#options.local.subscribe(topic, options, signal);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#options.local.close();
  }

  #send(envelope: Envelope): void {
    const { redis, logger } = this.#options;
    const chars = JSON.stringify(envelope).length;
    if (!redis.isReady || this.#inFlight >= inFlightMax || this.#inFlightChars + chars > inFlightCharsMax) {
      this.#owesResync = true;
      return;
    }
    this.#inFlight += 1;
    this.#inFlightChars += chars;
    redis.pubsub
      .publish(this.#channel, envelope)
      .catch((err: unknown) => {
        logger.debug({ err }, 'an event did not reach the other processes');
        this.#owesResync = true;
      })
      .finally(() => {
        this.#inFlight -= 1;
        this.#inFlightChars -= chars;
        this.#settleDebt();
      });
  }

  #settleDebt(): void {
    if (!this.#owesResync || this.#isClosed || this.#inFlight > 0 || !this.#options.redis.isReady) return;
    this.#owesResync = false;
    this.#send({ from: this.#options.instanceId, resync: true });
  }

  #receive(message: unknown): void {
    if (this.#isClosed || !isEnvelope(message) || message.from === this.#options.instanceId) return;
    const { local } = this.#options;
    if ('resync' in message) local.resync();
    else local.publish(message.topic, message.key, message.payload);
  }
}

/** Only processes of this program write to the channel; a later version's topic has no subscribers here. */
function isEnvelope(value: unknown): value is Envelope {
  return typeof value === 'object' && value !== null && 'from' in value && ('resync' in value || ('topic' in value && 'key' in value && typeof value.key === 'string'));
}
