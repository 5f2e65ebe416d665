import { abortable } from '../../shared/async.ts';
import type { Clock } from '../../shared/clock.ts';
import type { EventBus } from '../../shared/event-bus.ts';
import { newId } from '../../shared/ids.ts';
import type { Page, PageRequest } from '../../shared/paging.ts';
import type { Principal } from '../../shared/principal.ts';
import type { Answerers } from './answerers.ts';
import type { ChatSession } from './chat.entity.ts';
import { knownShape, parseSearch, parseSessionInput } from './chat.input.ts';
import { sessionNotFound } from './faults.ts';
import type { Generations } from './generation/generations.ts';
import type { NewSession, SessionChange, SessionRepository } from './session.repository.ts';
import type { Chat, ChatSessionView, CreateSession } from './types.ts';
import { toSessionView } from './views.ts';

export type SessionsDeps = { sessions: SessionRepository; answerers: Answerers; generations: Generations; events: EventBus; clock: Clock };

/** Use cases of sessions. */
export class Sessions implements Pick<Chat, 'createSession' | 'updateSession' | 'deleteSession' | 'getSession' | 'findSession' | 'listSessions'> {
  readonly #deps: SessionsDeps;

  constructor(deps: SessionsDeps) {
    this.#deps = deps;
  }

  async createSession(input: CreateSession, principal: Principal, signal: AbortSignal): Promise<ChatSessionView> {
    const { title, systemPrompt, parameters, deploymentIds } = parseSessionInput(input);
    const found = await abortable(this.#deps.answerers.find(deploymentIds ?? [], principal), signal);
    const now = this.#deps.clock.now();
    const row: NewSession = {
      id: newId(),
      title: title?.trim() ?? '',
      owner: principal.owner,
      systemPrompt: systemPrompt || null,
      parameters: parameters ?? {},
      deploymentIds: found.map(({ id }) => id),
      createdAt: now,
      updatedAt: now,
    };
    await this.#deps.sessions.insert(row);
    this.#publish(row.id);
    return toSessionView(row, 0);
  }

  async updateSession(id: string, input: Partial<CreateSession>, principal: Principal): Promise<ChatSessionView> {
    const { title, systemPrompt, parameters, deploymentIds } = parseSessionInput(input);
    const known = knownShape(id);
    if (known === null) throw sessionNotFound();
    // The session first: a caller learns nothing about deployments through another owner's session.
    await this.getSession(known, principal);
    const found = deploymentIds && (await this.#deps.answerers.find(deploymentIds, principal));
    const change: SessionChange = {
      ...(title === undefined ? {} : { title: title.trim() }),
      ...(systemPrompt === undefined ? {} : { systemPrompt: systemPrompt || null }),
      ...(parameters === undefined ? {} : { parameters }),
      ...(found === undefined ? {} : { deploymentIds: found.map((deployment) => deployment.id) }),
    };
    const row = await this.#deps.sessions.update(known, principal.owner, { ...change, updatedAt: this.#deps.clock.now() });
    if (!row) throw sessionNotFound();
    this.#publish(known);
    return await this.#view(row);
  }

  async deleteSession(id: string, principal: Principal, signal: AbortSignal): Promise<void> {
    const { sessions, generations, events } = this.#deps;
    const known = knownShape(id);
    const row = known && (await sessions.find(known, principal.owner));
    if (!row) throw sessionNotFound();
    await generations.endSession(row.id, signal);
    const isDeleted = await sessions.delete(row.id, principal.owner);
    if (!isDeleted) throw sessionNotFound();
    // A message that was sent meanwhile has lost its rows, and ends without storing anything.
    await generations.endSession(row.id, signal);
    events.publish('chat.session_changed', row.id, { sessionId: row.id, messageId: null, removed: true });
  }

  async getSession(id: string, principal: Principal): Promise<ChatSessionView> {
    const view = await this.findSession(id, principal);
    if (!view) throw sessionNotFound();
    return view;
  }

  async findSession(id: string, principal: Principal): Promise<ChatSessionView | null> {
    const known = knownShape(id);
    const row = known && (await this.#deps.sessions.findCounted(known, principal.owner));
    return row ? toSessionView(row, row.messageCount) : null;
  }

  async listSessions(filter: { search?: string }, page: PageRequest, principal: Principal): Promise<Page<ChatSessionView>> {
    const { items, ...rest } = await this.#deps.sessions.list(principal.owner, parseSearch(filter.search), page);
    return { ...rest, items: items.map((row) => toSessionView(row, row.messageCount)) };
  }

  async #view(row: ChatSession): Promise<ChatSessionView> {
    return toSessionView(row, await this.#deps.sessions.messageCount(row.id));
  }

  #publish(sessionId: string): void {
    this.#deps.events.publish('chat.session_changed', sessionId, { sessionId, messageId: null });
  }
}
