import type { Clock } from '../../shared/clock.ts';
import type { EventBus } from '../../shared/event-bus.ts';
import type { Instances } from '../../shared/instances.ts';
import type { Logger } from '../../shared/logger.ts';
import type { TokenStream } from '../../shared/token-stream.ts';
import { interrupted, toOutcome } from './generation/answer-keeper.ts';
import type { MessageRepository, PartialText } from './message.repository.ts';

export type OrphanDeps = {
  messages: MessageRepository;
  tokenStream: TokenStream;
  events: EventBus;
  clock: Clock;
  logger: Logger;
  instances: Pick<Instances, 'isAlive'>;
};

const orphansAtOnce = 100;
const ending = { ...interrupted('The service ended before the answer was complete.'), usage: null };

/** Marks what processes that are gone have left unfinished, for the readers of other processes too; returns how many. */
export async function interruptOrphans(deps: OrphanDeps): Promise<number> {
  const { messages, instances } = deps;
  const makers = await messages.makersOfUnfinished();
  const areGone = await Promise.all(makers.map(async (maker) => maker === null || !(await instances.isAlive(maker))));
  let count = 0;
  for (const maker of makers.filter((_, place) => areGone[place])) {
    for (;;) {
      const orphans = await messages.unfinishedBy(maker, orphansAtOnce);
      for (const orphan of orphans) count += (await interrupt(orphan, deps)) ? 1 : 0;
      if (orphans.length < orphansAtOnce) break;
    }
  }
  return count;
}

type Orphan = { id: string; sessionId: string; content: string };

async function interrupt({ id, sessionId, content }: Orphan, deps: OrphanDeps): Promise<boolean> {
  const { messages, tokenStream, events, clock, logger } = deps;
  // What readers have got, which may be a moment ahead of what was stored; the database alone will do without Redis.
  const pieces = await tokenStream.pieces(id).catch(() => null);
  const text = pieces && toText(pieces);
  const isOurs = await messages.end(id, { ...ending, ...(text && text.content.length >= content.length && { text }) }, clock.now());
  if (!isOurs) return false;
  await tokenStream.abandon(id, toOutcome(ending)).catch((err: unknown) => logger.debug({ err, messageId: id }, 'readers of an answer find its end in the database'));
  events.publish('chat.session_changed', sessionId, { sessionId, messageId: id });
  return true;
}

function toText(pieces: readonly string[]): PartialText {
  return { content: pieces.join(''), pieceLengths: pieces.map((piece) => piece.length).join(',') };
}
