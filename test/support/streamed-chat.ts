import type { ChatMessageView, ChatStreamEvent } from '../../src/domains/chat/types.ts';
import { MemoryTokenStream } from '../../src/infrastructure/events/memory-token-stream.ts';
import { systemClock } from '../../src/infrastructure/system-clock.ts';
import { AppError } from '../../src/shared/errors.ts';
import { newId } from '../../src/shared/ids.ts';
import { PushStream } from '../../src/shared/push-stream.ts';
import type { StreamEntry } from '../../src/shared/token-stream.ts';
import type { World } from './domain-doubles/doubles.ts';
import { messageRow } from './domain-doubles/rows.ts';

type Outcome = Pick<Extract<ChatStreamEvent, { type: 'end' }>, 'status' | 'usage' | 'finishReason' | 'error'>;

export type StreamedChat = {
  /** Newest last; the test writes them. */
  answers: ChatMessageView[];
  /** How often something was said. */
  sent: number;
  /** How many pieces each reader has pulled. */
  pulled: number[];
  write(messageId: string, text: string): Promise<void>;
  end(messageId: string, outcome?: Partial<Outcome>): Promise<void>;
};

const done: Outcome = { status: 'completed', usage: { promptTokens: 1, completionTokens: 2, timeToFirstTokenMs: 3, tokensPerSecond: 4, messagesLeftOut: 5 }, finishReason: 'stop', error: null };

/** Lets a test write the answers itself, piece by piece, into a real token stream. */
export function streamAnswersIn(world: World): StreamedChat {
  const tokens = new MemoryTokenStream({ clock: systemClock });
  const answers: ChatMessageView[] = [];
  const { chat } = world.services;
  const find = (id: string): ChatMessageView => {
    const found = answers.find((answer) => answer.id === id);
    if (!found) throw new AppError('CHAT_MESSAGE_NOT_FOUND', 'There is no such message.');
    return found;
  };
  const state: StreamedChat = {
    answers,
    sent: 0,
    pulled: [],
    async write(messageId, text) {
      tokens.append(messageId, text);
    },
    async end(messageId, outcome) {
      const whole = { ...done, ...outcome };
      Object.assign(find(messageId), { status: whole.status, finishReason: whole.finishReason, error: whole.error });
      await tokens.end(messageId, whole);
    },
  };
  chat.send = async ({ sessionId, deploymentIds = [world.deployments[0]!.id], message }, principal) => {
    const session = await chat.getSession(sessionId ?? world.sessions[0]!.id, principal);
    state.sent += 1;
    const question: ChatMessageView = { ...messageRow(0), id: newId(), content: message };
    const now = new Date();
    const made = deploymentIds.map((deploymentId): ChatMessageView => ({ ...messageRow(1), id: newId(), parentId: question.id, deploymentId, content: '', status: 'streaming', createdAt: now }));
    answers.push(...made);
    world.messages.push(question, ...made);
    return { session, userMessage: question, answers: made };
  };
  chat.stop = async (id) => {
    await state.end(id, { status: 'stopped', finishReason: 'stopped' });
    return find(id);
  };
  world.stream = (id, after) => {
    const { deploymentId } = find(id);
    const reader = state.pulled.push(0) - 1;
    const toEvent = (entry: StreamEntry): ChatStreamEvent => {
      state.pulled[reader]! += 1;
      if (entry.type === 'piece') return { type: 'token', messageId: id, deploymentId, index: entry.index, text: entry.text };
      // The writer above is the only one who ends a stream.
      return { type: 'end', messageId: id, deploymentId, index: entry.index, ...(entry.outcome as unknown as Outcome) };
    };
    return new PushStream(async (take, signal) => {
      await take({ type: 'start', messageId: id, deploymentId, index: after });
      await tokens.read(id, after).map(toEvent).pour(take, signal);
    });
  };
  return state;
}
