import type { Clock } from '../../shared/clock.ts';
import type { Delivery, EventBus, EventMap, SubscribeOptions, Topic } from '../../shared/event-bus.ts';
import { createLatestMailbox, createQueueMailbox } from './mailboxes.ts';
import { Subscription } from './subscription.ts';

const queueMaxDefault = 1_000;
/** A `latest` subscriber of everything holds one event per id; far more ids than anything here has at once. */
const latestKeysMax = 1_000;

type AnySubscription = Subscription<EventMap[Topic], Delivery<Topic>>;
type Subscribers = { everything: Set<AnySubscription>; byKey: Map<string, Set<AnySubscription>> };

/** The EventBus of one process. */
export class InProcessEventBus implements EventBus {
  readonly #clock: Clock;
  readonly #topics = new Map<Topic, Subscribers>();
  #closed = false;

  constructor(options: { clock: Clock }) {
    this.#clock = options.clock;
  }

  publish<T extends Topic>(topic: T, key: string, payload: EventMap[T]): void {
    const subscribers = this.#topics.get(topic);
    if (!subscribers) return;
    for (const subscription of subscribers.everything) subscription.push(key, payload);
    for (const subscription of subscribers.byKey.get(key) ?? []) subscription.push(key, payload);
  }

  subscribe<T extends Topic>(topic: T, options: SubscribeOptions, signal: AbortSignal): AsyncIterableIterator<Delivery<T>> {
    const nowMs = (): number => this.#clock.monotonicMs();
    const mailbox =
      options.delivery === 'all'
        ? createQueueMailbox<EventMap[T]>(Math.max(1, options.queueMax ?? queueMaxDefault))
        : createLatestMailbox<EventMap[T]>({ minIntervalMs: options.minIntervalMs ?? 0, keysMax: latestKeysMax, nowMs });
    const subscription = new Subscription<EventMap[T], Delivery<T>>({
      mailbox,
      toDelivery: (payload, droppedBefore) => ({ type: 'event', payload, droppedBefore }),
      resync: { type: 'resync' },
      signal,
      // Topic and payload type go together by construction; the map cannot say so.
      onEnd: (ended) => this.#remove(topic, options.key, ended as unknown as AnySubscription),
    });
    if (this.#closed) subscription.end();
    else if (!signal.aborted) this.#add(topic, options.key, subscription as unknown as AnySubscription);
    return subscription;
  }

  /** Tells every subscriber that events from elsewhere were lost. */
  resync(): void {
    for (const subscription of this.#all()) subscription.resync();
  }

  close(): Promise<void> {
    this.#closed = true;
    for (const subscription of this.#all()) subscription.end();
    return Promise.resolve();
  }

  #all(): AnySubscription[] {
    return [...this.#topics.values()].flatMap(({ everything, byKey }) => [...everything, ...[...byKey.values()].flatMap((set) => [...set])]);
  }

  #add(topic: Topic, key: string | undefined, subscription: AnySubscription): void {
    let subscribers = this.#topics.get(topic);
    if (!subscribers) {
      subscribers = { everything: new Set(), byKey: new Map() };
      this.#topics.set(topic, subscribers);
    }
    if (key === undefined) {
      subscribers.everything.add(subscription);
      return;
    }
    const ofKey = subscribers.byKey.get(key) ?? new Set();
    ofKey.add(subscription);
    subscribers.byKey.set(key, ofKey);
  }

  #remove(topic: Topic, key: string | undefined, subscription: AnySubscription): void {
    const subscribers = this.#topics.get(topic);
    if (!subscribers) return;
    subscribers.everything.delete(subscription);
    const ofKey = key === undefined ? undefined : subscribers.byKey.get(key);
    ofKey?.delete(subscription);
    if (key !== undefined && ofKey?.size === 0) subscribers.byKey.delete(key);
    if (subscribers.everything.size === 0 && subscribers.byKey.size === 0) this.#topics.delete(topic);
  }
}
