import { assertPageLimit, encodeIdCursor, pageOf, type Page, type PageRequest } from '../../shared/paging.ts';
import type { Principal } from '../../shared/principal.ts';
import { knownShape } from './chat.input.ts';
import { sessionNotFound } from './faults.ts';
import type { MessageRepository } from './message.repository.ts';
import type { SessionRepository } from './session.repository.ts';
import type { Chat, ChatMessageView } from './types.ts';
import { toMessageView } from './views.ts';

export type HistoryDeps = { sessions: SessionRepository; messages: MessageRepository };

/** Use cases that read stored messages. */
export class History implements Pick<Chat, 'messages' | 'firstMessages' | 'findMessage'> {
  readonly #deps: HistoryDeps;

  constructor(deps: HistoryDeps) {
    this.#deps = deps;
  }

  async messages(sessionId: string, page: PageRequest, { owner }: Principal): Promise<Page<ChatMessageView>> {
    const { sessions, messages } = this.#deps;
    assertPageLimit(page.limit);
    const id = knownShape(sessionId);
    if (id === null) throw sessionNotFound();
    const { items, ...rest } = await messages.page(id, owner, page);
    // Messages are their session's owner's: where there is one there is the session.
    if (items.length === 0 && !(await sessions.find(id, owner))) throw sessionNotFound();
    return { ...rest, items: items.map(toMessageView) };
  }

  async firstMessages(sessionIds: readonly string[], limit: number, { owner }: Principal): Promise<ReadonlyMap<string, Page<ChatMessageView>>> {
    const { sessions, messages } = this.#deps;
    assertPageLimit(limit);
    const ids = sessionIds.flatMap((id) => knownShape(id) ?? []);
    const [only] = ids;
    if (only !== undefined && ids.length === 1) {
      const { items, ...rest } = await messages.page(only, owner, { limit });
      return new Map(items.length === 0 ? [] : [[only, { ...rest, items: items.map(toMessageView) }]]);
    }
    const [rows, counts] = await Promise.all([messages.firstOfEach(ids, owner, limit + 1), sessions.messageCounts(ids)]);
    const bySession = Map.groupBy(rows, ({ sessionId }) => sessionId);
    return new Map([...bySession].map(([id, ofSession]) => [id, pageOf(ofSession.map(toMessageView), limit, counts.get(id) ?? 0, (message) => encodeIdCursor(id, message.id))]));
  }

  async findMessage(messageId: string, { owner }: Principal): Promise<ChatMessageView | null> {
    const id = knownShape(messageId);
    const row = id && (await this.#deps.messages.find(id, owner));
    return row ? toMessageView(row) : null;
  }
}
