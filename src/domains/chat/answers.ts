import { abortable } from '../../shared/async.ts';
import type { Clock } from '../../shared/clock.ts';
import type { EventBus } from '../../shared/event-bus.ts';
import type { Principal } from '../../shared/principal.ts';
import { PushStream, TakerFault, type Take } from '../../shared/push-stream.ts';
import type { StreamEnd, StreamEntry, StreamPiece, TokenStream } from '../../shared/token-stream.ts';
import type { ChatMessage } from './chat.entity.ts';
import { knownShape, parseAfter } from './chat.input.ts';
import { watchEnd } from './ended-elsewhere.ts';
import { messageNotFound, sessionNotFound } from './faults.ts';
import { toOutcome, type StreamOutcome } from './generation/answer-keeper.ts';
import type { Generations } from './generation/generations.ts';
import { linkSignals } from './generation/linked-signal.ts';
import type { Readers } from './generation/readers.ts';
import { splitPieces } from './generation/piece-writer.ts';
import type { MessageRepository } from './message.repository.ts';
import type { Sessions } from './sessions.ts';
import type { Chat, ChatMessageView, ChatSessionView, ChatStreamEvent, MessageStatus } from './types.ts';
import { toMessageView } from './views.ts';

export type AnswersDeps = {
  messages: MessageRepository;
  sessions: Sessions;
  generations: Generations;
  readers: Readers;
  tokenStream: TokenStream;
  events: EventBus;
  clock: Clock;
};

type FollowedAnswer = Pick<ChatMessage, 'id' | 'owner' | 'sessionId' | 'deploymentId' | 'status'>;

/** Events are hints: whoever waits for a change also looks by itself this often. */
const lookAgainMs = 2_000;
/** A maker stores its last words within some hundred milliseconds. */
const stopLookMs = 100;
const stopLooksMax = 20;

/** Use cases of answers that are being made or have ended. */
export class Answers implements Pick<Chat, 'stop' | 'stream' | 'waitForEnd' | 'watchSession'> {
  readonly #deps: AnswersDeps;
  #newest: { entry: StreamPiece; event: ChatStreamEvent } | null = null;

  constructor(deps: AnswersDeps) {
    this.#deps = deps;
  }

  async stop(messageId: string, principal: Principal, signal: AbortSignal): Promise<ChatMessageView> {
    const { generations, messages, clock, events } = this.#deps;
    const { id, sessionId, status } = await this.#find(messageId, principal);
    const generation = generations.find(id);
    if (generation) {
      generation.abort('stopped');
      await abortable(generation.ended, signal);
    } else if (status === 'streaming' && !(await this.#isStoppedElsewhere(id, principal, signal))) {
      // Nobody makes it any more, or cannot be told: its maker notices at its next save that the row has ended.
      await messages.end(id, { status: 'stopped', usage: null, finishReason: 'stopped', error: null }, clock.now());
      events.publish('chat.session_changed', sessionId, { sessionId, messageId: id });
    }
    return toMessageView(await this.#find(id, principal));
  }

  async stream(messageId: string, after: number, principal: Principal, signal: AbortSignal): Promise<PushStream<ChatStreamEvent>> {
    const position = parseAfter(after);
    const answer = this.#findRunning(messageId, principal) ?? (await this.#find(messageId, principal));
    return new PushStream(async (take, reading) => {
      const either = linkSignals([signal, reading]);
      try {
        await this.#pour(answer, position, take, either.signal);
      } catch (error) {
        // A reader that went away has nobody to tell.
        if (error instanceof TakerFault || !either.signal.aborted) throw error;
      } finally {
        either.unlink();
      }
    });
  }

  async waitForEnd(messageId: string, principal: Principal, signal: AbortSignal): Promise<ChatMessageView> {
    const { generations, clock } = this.#deps;
    for (;;) {
      const row = await this.#find(messageId, principal);
      if (row.status !== 'streaming') return toMessageView(row);
      const generation = generations.find(row.id);
      const leave = this.#deps.readers.enter(row.id, !generation);
      await (generation ? abortable(generation.ended, signal) : clock.sleep(lookAgainMs, signal)).finally(leave);
    }
  }

  async *watchSession(id: string, principal: Principal, signal: AbortSignal): AsyncGenerator<{ session: ChatSessionView; message: ChatMessageView | null }, void, undefined> {
    const { sessions, messages, events, clock } = this.#deps;
    const known = knownShape(id);
    if (known === null) throw sessionNotFound();
    let seenAt = clock.now();
    // Before the first look, so that nothing is missed in between.
    const changes = events.subscribe('chat.session_changed', { key: known, delivery: 'all' }, signal);
    try {
      const session = await sessions.getSession(known, principal);
      const newest = await messages.newest(known, principal.owner);
      yield { session, message: newest && toMessageView(newest) };
      for await (const change of changes) {
        const now = await sessions.findSession(known, principal);
        if (!now) return;
        const messageId = change.type === 'event' ? change.payload.messageId : null;
        if (change.type === 'resync' || change.droppedBefore > 0) {
          // What ended meanwhile is told first: the newest message alone would not say it.
          for (const row of await messages.endedSince(known, principal.owner, seenAt)) yield { session: now, message: toMessageView(row) };
        }
        seenAt = clock.now();
        const row = messageId === null ? await messages.newest(known, principal.owner) : await messages.find(messageId, principal.owner);
        yield { session: now, message: row && toMessageView(row) };
      }
    } finally {
      await changes.return?.();
    }
  }

  async #pour(answer: FollowedAnswer, after: number, take: Take<ChatStreamEvent>, signal: AbortSignal): Promise<void> {
    const { id, deploymentId, owner } = answer;
    let position = after;
    await take({ type: 'start', messageId: id, deploymentId, index: position });
    while (isLive(signal)) {
      const live = await this.#pourLive(answer, position, take, signal);
      if (live.isEnded) return;
      ({ position } = live);
      // The reader has gone, or the stream was forgotten meanwhile: then the stored text has the rest.
      const row = isLive(signal) ? await this.#deps.messages.findWithPieces(id, owner) : null;
      if (!isLive(signal)) return;
      if (!row) throw messageNotFound();
      if (row.status !== 'streaming') {
        for (const event of storedEvents(row, position)) {
          await take(event);
          if (!isLive(signal)) return;
        }
        return;
      }
      await this.#deps.clock.sleep(lookAgainMs, signal).catch(() => undefined);
    }
  }

  /** What the live stream has after `after`, and how far that is. */
  async #pourLive(answer: FollowedAnswer, after: number, take: Take<ChatStreamEvent>, signal: AbortSignal): Promise<{ position: number; isEnded: boolean }> {
    const { id, deploymentId } = answer;
    const reached = { position: after, isEnded: false };
    const live = await this.#open(answer, after, signal);
    if (!live) return reached;
    const leave = this.#deps.readers.enter(id, !this.#deps.generations.find(id));
    try {
      await live.entries.pour((entry) => {
        reached.position = entry.index;
        reached.isEnded = entry.type === 'end';
        return take(entry.type === 'end' ? toEnd(id, deploymentId, entry) : this.#tokenEventOf(entry, answer));
      }, live.signal);
    } finally {
      leave();
      live.close();
    }
    return reached;
  }

  /** The live stream, which holds the answer from its first piece or will as soon as there is one. Its user closes it. */
  async #open(answer: FollowedAnswer, after: number, signal: AbortSignal): Promise<{ entries: PushStream<StreamEntry>; signal: AbortSignal; close: () => void } | null> {
    const { generations, tokenStream } = this.#deps;
    if (generations.find(answer.id)) return { entries: tokenStream.read(answer.id, after), signal, close: () => undefined };
    const isMadeElsewhere = tokenStream.isShared && answer.status === 'streaming';
    if (!isMadeElsewhere && !(await tokenStream.has(answer.id))) return null;
    const end = watchEnd(this.#deps, answer, signal);
    return { entries: tokenStream.read(answer.id, after), ...end };
  }

  /** The same for all readers that are at the same entry, so that what they make of it can be shared as well. */
  #tokenEventOf(entry: StreamPiece, { id, deploymentId }: FollowedAnswer): ChatStreamEvent {
    // Readers are woken one after another: remembering the last one serves them, and a table of all would outlive them.
    if (this.#newest?.entry !== entry) this.#newest = { entry, event: { type: 'token', messageId: id, deploymentId, index: entry.index, text: entry.text } };
    return this.#newest.event;
  }

  /** Asks whichever process makes it; false when nobody has done it within a moment. */
  async #isStoppedElsewhere(id: string, principal: Principal, signal: AbortSignal): Promise<boolean> {
    const { events, tokenStream, clock } = this.#deps;
    if (!tokenStream.isShared) return false;
    events.publish('chat.stop_requested', id, { messageId: id });
    for (let look = 0; look < stopLooksMax; look += 1) {
      await clock.sleep(stopLookMs, signal);
      if ((await this.#find(id, principal)).status !== 'streaming') return true;
    }
    return false;
  }

  /** One that is being made here need not be looked up. */
  #findRunning(messageId: string, { owner }: Principal): FollowedAnswer | null {
    const id = knownShape(messageId);
    const running = id === null ? undefined : this.#deps.generations.find(id);
    if (id === null || running?.owner !== owner || running.sessionId === null) return null;
    return { id, owner, sessionId: running.sessionId, deploymentId: running.deploymentId, status: 'streaming' };
  }

  async #find(messageId: string, principal: Principal): Promise<ChatMessage> {
    const id = knownShape(messageId);
    const row = id && (await this.#deps.messages.find(id, principal.owner));
    if (!row) throw messageNotFound();
    return row;
  }
}

/** A call, because the compiler does not expect a signal to change its mind. */
function isLive(signal: AbortSignal): boolean {
  return !signal.aborted;
}

function* storedEvents(row: ChatMessage, after: number): Generator<ChatStreamEvent> {
  const { id: messageId, deploymentId } = row;
  const pieces = splitPieces(row);
  for (const [index, text] of pieces.entries()) {
    if (index > after) yield { type: 'token', messageId, deploymentId, index, text };
  }
  yield { type: 'end', messageId, deploymentId, index: pieces.length - 1, ...toOutcome(row), status: row.status };
}

function toEnd(messageId: string, deploymentId: string | null, { index, outcome }: StreamEnd): ChatStreamEvent {
  // Written by `Generation`, the only writer of these streams.
  const { status, usage, finishReason, error } = outcome as StreamOutcome & { status: MessageStatus };
  return { type: 'end', messageId, deploymentId, index, status, usage, finishReason, error };
}
