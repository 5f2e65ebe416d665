/** What `events.ts` and its process of subscribers have in common: one clock, one message, one way to count. */
import type { EventBus, EventMap } from '../src/shared/event-bus.ts';

/** Sent first and not counted: what is compiled on first use is not measured. */
export const warmUpEvents = 25;
export const topic = 'deployment.log';
/** The bare Redis subscriber's channel. */
export const bareChannel = 'bench:bare';

/** `missing`: deliveries that never came, or were dropped from a full queue. */
export type Figures = { deliveries: number; missing: number; p50Ms: number; p99Ms: number; maxMs: number };

/** Nanoseconds of the system's monotonic clock, which all processes of a machine share. */
export function stamp(): string {
  return String(process.hrtime.bigint());
}

/** A line as an engine writes it, with the time of its sending for a message. */
export function stampedLine(deploymentId: string): EventMap[typeof topic] {
  return { deploymentId, line: { time: new Date().toISOString(), stream: 'stdout', level: 'info', message: stamp(), run: 1, cursor: '0' } };
}

/** The delays of one measurement: each of the subscribers is to get every event. */
export class Delays {
  readonly #delaysMs: Float64Array;
  #deliveries = 0;

  constructor(options: { subscribers: number; events: number }) {
    this.#delaysMs = new Float64Array(options.subscribers * options.events);
  }

  /** Call at once when an event is there. `position`: how many its subscriber had before it. */
  add(sentAt: string, position: number): void {
    if (position < warmUpEvents) return;
    this.#delaysMs[this.#deliveries] = Number(process.hrtime.bigint() - BigInt(sentAt)) / 1e6;
    this.#deliveries += 1;
  }

  figures(): Figures {
    const sorted = this.#delaysMs.subarray(0, this.#deliveries).sort();
    const at = (share: number): number => round(sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN);
    return { deliveries: this.#deliveries, missing: this.#delaysMs.length - this.#deliveries, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
  }
}

/** Subscribes at once; resolves when every subscriber has had all events, or when the signal aborts. */
export async function subscribeAll(bus: EventBus, { subscribers, events }: { subscribers: number; events: number }, signal: AbortSignal): Promise<Figures> {
  const delays = new Delays({ subscribers, events });
  const follow = async (deliveries: ReturnType<typeof bus.subscribe<typeof topic>>): Promise<void> => {
    let position = 0;
    for await (const delivery of deliveries) {
      if (delivery.type === 'resync') continue;
      position += delivery.droppedBefore;
      delays.add(delivery.payload.line.message, position);
      position += 1;
      if (position >= warmUpEvents + events) return;
    }
  };
  await Promise.all(Array.from({ length: subscribers }, () => follow(bus.subscribe(topic, { delivery: 'all' }, signal))));
  return delays.figures();
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
