import type { Clock } from '../../shared/clock.ts';
import type { EventBus } from '../../shared/event-bus.ts';
import type { MessageRepository } from './message.repository.ts';

export type EndWatchDeps = { messages: MessageRepository; events: EventBus; clock: Clock };
export type WatchedAnswer = { id: string; sessionId: string; owner: string };

/** The end usually comes by the stream itself, a moment after it was stored. */
const graceMs = 1_000;
/** Events may be lost, and a process may die without a word. */
const lookEveryMs = 10_000;

/**
 * A signal that aborts when an answer that another process makes has ended and its stream does not say so, or when
 * `signal` does. Whoever is done with it calls `close`.
 */
export function watchEnd(deps: EndWatchDeps, answer: WatchedAnswer, signal: AbortSignal): { signal: AbortSignal; close: () => void } {
  const controller = new AbortController();
  const close = (): void => {
    signal.removeEventListener('abort', close);
    controller.abort(signal.reason);
  };
  if (signal.aborted) close();
  else signal.addEventListener('abort', close, { once: true });
  void waitForEnd(deps, answer, controller.signal).then(close, close);
  return { signal: controller.signal, close };
}

async function waitForEnd({ messages, events, clock }: EndWatchDeps, { id, sessionId, owner }: WatchedAnswer, signal: AbortSignal): Promise<void> {
  const changes = events.subscribe('chat.session_changed', { key: sessionId, delivery: 'latest' }, signal);
  for (let change = changes.next(); ; ) {
    const row = await messages.find(id, owner).catch(() => 'unknown' as const);
    if (row === null || (row !== 'unknown' && row.status !== 'streaming')) break;
    const hasChanged = await Promise.race([change.then(() => true), clock.sleep(lookEveryMs, signal).then(() => false)]);
    if (signal.aborted) return;
    if (hasChanged) change = changes.next();
  }
  await clock.sleep(graceMs, signal);
}
