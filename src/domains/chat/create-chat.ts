import type { SqlEntityManager } from '@mikro-orm/sql';
import type { Clock } from '../../shared/clock.ts';
import type { EventBus } from '../../shared/event-bus.ts';
import type { Instances } from '../../shared/instances.ts';
import type { Logger } from '../../shared/logger.ts';
import type { TokenBudget } from '../../shared/key-limits.ts';
import type { StreamingHttp } from '../../shared/streaming-http.ts';
import type { TokenStream } from '../../shared/token-stream.ts';
import { TurnQueue } from '../../shared/turn-queue.ts';
import type { Deployments } from '../deployments/types.ts';
import { Answerers } from './answerers.ts';
import { Answers } from './answers.ts';
import { createExport } from './export/export-session.ts';
import { createImport } from './import/import-sessions.ts';
import { ChatService } from './chat.service.ts';
import { Generations } from './generation/generations.ts';
import { HistoryRepository } from './generation/history.repository.ts';
import { defaultChatLimits, type ChatLimits } from './generation/limits.ts';
import { History } from './history.ts';
import { interruptOrphans } from './orphans.ts';
import { MessageRepository } from './message.repository.ts';
import { PartialSaver } from './generation/partial-saver.ts';
import { Readers } from './generation/readers.ts';
import { createRelays } from './relay/relay.ts';
import type { Relays } from './relay/types.ts';
import { ensureSearchIndex } from './search-index.repository.ts';
import { SessionRepository } from './session.repository.ts';
import { Sessions } from './sessions.ts';
import { Turns } from './turns.ts';
import type { Chat } from './types.ts';

export type ChatDeps = {
  em: SqlEntityManager;
  deployments: Pick<Deployments, 'ensureReady' | 'find' | 'findByName'>;
  tokenStream: TokenStream;
  events: EventBus;
  clock: Clock;
  logger: Logger;
  /** This service process and the others on the same database. */
  instances: Instances;
  http: StreamingHttp;
  budget: TokenBudget;
  limits?: Partial<ChatLimits>;
};

export type ChatModule = {
  chat: Chat;
  /** For programs that speak OpenAI's API. */
  relays: Relays;
  /** Marks answers that a process left unfinished which is gone, now and whenever another one dies. Before the first request is served. */
  start(): Promise<void>;
  /** No new answers; running ones may end until `drain` aborts, then they are interrupted and keep their text. */
  stop(drain: AbortSignal): Promise<void>;
};

/** Wires chat together. */
export function createChat(deps: ChatDeps): ChatModule {
  const { em, deployments, tokenStream, events, clock, instances, http, budget } = deps;
  const logger = deps.logger.child({ room: 'chat' });
  const limits = { ...defaultChatLimits, ...deps.limits };
  const sessionRows = new SessionRepository(em);
  const messages = new MessageRepository(em);
  const answerers = new Answerers(deployments);
  const readers = new Readers({ events, clock, stopUnreadAfterMs: limits.stopUnreadAfterMs });
  const saver = new PartialSaver(messages);
  const ends = new TurnQueue();
  const generations = new Generations({ readers, saver, ends, budget, http, history: new HistoryRepository(em), clock, limits, deployments, messages, tokenStream, events, logger });
  const sessions = new Sessions({ sessions: sessionRows, answerers, generations, events, clock });
  const chat = new ChatService({
    sessions,
    history: new History({ sessions: sessionRows, messages }),
    turns: new Turns({ em, sessions: sessionRows, messages, answerers, generations, budget, events, clock, instanceId: instances.self.id }),
    answers: new Answers({ messages, sessions, generations, readers, tokenStream, events, clock }),
    exportSession: createExport({ sessions: sessionRows, messages, clock }),
    importSessions: createImport({ em, deployments, events, clock }),
  });
  const relays = createRelays({ em, http, messages, saver, ends, tokenStream, events, clock, logger, limits, instanceId: instances.self.id, deployments, generations, budget, sessions: sessionRows });
  const interrupt = async (): Promise<void> => {
    const count = await interruptOrphans({ messages, tokenStream, events, clock, logger, instances });
    if (count > 0) logger.info({ count }, 'answers of a process that is gone were marked interrupted');
  };
  const listening: (() => void)[] = [];
  const start = async (): Promise<void> => {
    listening.push(obeyStops(events, generations, logger), hearReaders(readers, logger));
    listening.push(instances.onDeath(interrupt));
    await interrupt();
    await ensureSearchIndex(em, logger);
  };
  const stop = async (drain: AbortSignal): Promise<void> => {
    for (const end of listening) end();
    await generations.close(drain);
  };
  return { chat, relays, start, stop };
}

/** Stops answers of this process that were asked to be stopped in another one. Returns what ends it. */
function obeyStops(events: EventBus, generations: Generations, logger: Logger): () => void {
  const ended = new AbortController();
  const obey = async (): Promise<void> => {
    for await (const asked of events.subscribe('chat.stop_requested', { delivery: 'all' }, ended.signal)) {
      if (asked.type === 'event') generations.find(asked.payload.messageId)?.abort('stopped');
    }
  };
  obey().catch((err: unknown) => logger.error({ err }, 'stops that other processes ask for are not heard any more'));
  return () => ended.abort();
}

/** Returns what ends it. */
function hearReaders(readers: Readers, logger: Logger): () => void {
  const ended = new AbortController();
  readers.listen(ended.signal).catch((err: unknown) => logger.error({ err }, 'readers in other processes are not heard of any more'));
  return () => ended.abort();
}
