import type { SqlEntityManager } from '@mikro-orm/sql';
import type { Clock } from '../../shared/clock.ts';
import { AppError, validationFailed } from '../../shared/errors.ts';
import type { EventBus } from '../../shared/event-bus.ts';
import type { TokenBudget, TokenPayer } from '../../shared/key-limits.ts';
import { findIdempotentResult, hashRequest, type IdempotencyClaim } from '../../shared/persistence/idempotency.repository.ts';
import type { Principal } from '../../shared/principal.ts';
import type { DeploymentView } from '../deployments/types.ts';
import type { Answerers } from './answerers.ts';
import type { ChatMessage, ChatSession } from './chat.entity.ts';
import { knownShape, parseMessageText, parseParameters, parseSend } from './chat.input.ts';
import { deploymentNotFound, messageNotFound, sessionNotFound } from './faults.ts';
import type { Generations, Reservation } from './generation/generations.ts';
import { mergeParameters } from './parameters.ts';
import type { MessageRepository } from './message.repository.ts';
import type { SessionRepository } from './session.repository.ts';
import { storeTurn, type StoredTurn, type TurnRequest } from './turn.repository.ts';
import type { Chat, ChatParameters, SendMessage, SentMessage } from './types.ts';
import { toMessageView, toSessionView } from './views.ts';

export type TurnsDeps = {
  em: SqlEntityManager;
  sessions: SessionRepository;
  messages: MessageRepository;
  answerers: Answerers;
  generations: Generations;
  budget: TokenBudget;
  events: EventBus;
  clock: Clock;
  instanceId: string;
};

type Plan = Pick<TurnRequest, 'sessionId' | 'question' | 'parameters' | 'claim'>;

/** Use cases that ask for new answers. */
export class Turns implements Pick<Chat, 'send' | 'regenerate' | 'edit'> {
  readonly #deps: TurnsDeps;

  constructor(deps: TurnsDeps) {
    this.#deps = deps;
  }

  async send(given: SendMessage, principal: Principal, signal: AbortSignal): Promise<SentMessage> {
    const input = parseSend(given);
    const claim = toClaim(input, principal);
    const earlier = claim && (await findIdempotentResult(this.#deps.em, claim));
    if (earlier) return await this.#replay(earlier, principal);
    const session = await this.#findSession(input.sessionId, principal);
    const deployments = await this.#deps.answerers.findReady(input.deploymentIds ?? session?.deploymentIds ?? [], principal);
    if (deployments.length === 0) throw validationFailed([{ field: 'deployment_ids', message: 'must name at least one' }]);
    const parent = input.parentId === undefined ? 'newest' : { id: existing(input.parentId) };
    const question: TurnRequest['question'] = { type: 'new', text: input.message, parent };
    return await this.#ask({ sessionId: session?.id ?? null, question, parameters: input.parameters ?? {}, claim }, deployments, { principal, signal });
  }

  async regenerate(messageId: string, parameters: ChatParameters | undefined, principal: Principal, signal: AbortSignal): Promise<SentMessage> {
    const changed = parseParameters(parameters);
    const answer = await this.#findMessage(messageId, principal);
    if (answer.role !== 'assistant' || answer.parentId === null) throw wrongRole('Only an answer can be made again.', answer);
    if (answer.deploymentId === null) throw deploymentNotFound('');
    const deployments = await this.#deps.answerers.findReady([answer.deploymentId], principal);
    const question: TurnRequest['question'] = { type: 'stored', id: answer.parentId };
    return await this.#ask({ sessionId: answer.sessionId, question, parameters: mergeParameters(answer.parameters, changed), claim: null }, deployments, { principal, signal });
  }

  async edit(messageId: string, message: string, principal: Principal, signal: AbortSignal): Promise<SentMessage> {
    const text = parseMessageText(message);
    const original = await this.#findMessage(messageId, principal);
    if (original.role !== 'user') throw wrongRole("Only a user's message can be edited.", original);
    const session = await this.#findSession(original.sessionId, principal);
    const answers = await this.#deps.messages.answersOf(original);
    const answeredBy = answers.flatMap(({ deploymentId }) => deploymentId ?? []);
    const deployments = await this.#deps.answerers.findReady(answeredBy.length > 0 ? answeredBy : (session?.deploymentIds ?? []), principal);
    if (deployments.length === 0) throw validationFailed([{ field: 'deployment_ids', message: 'the session has none' }]);
    const question: TurnRequest['question'] = { type: 'new', text, parent: original.parentId === null ? 'none' : { id: original.parentId } };
    return await this.#ask({ sessionId: original.sessionId, question, parameters: original.parameters, claim: null }, deployments, { principal, signal });
  }

  async #ask(plan: Plan, deployments: readonly DeploymentView[], { principal, signal }: { principal: Principal; signal: AbortSignal }): Promise<SentMessage> {
    const { em, generations, budget, clock, instanceId } = this.#deps;
    const payer = await budget.payerOf(principal);
    const reservation = generations.reserve(deployments.length);
    try {
      signal.throwIfAborted();
      const answerers = deployments.map(({ id, modelId }) => ({ deploymentId: id, modelId }));
      const turn = await storeTurn(em, { ...plan, owner: principal.owner, answerers, instanceId, at: clock.now() });
      if ('replayOf' in turn) return await this.#replay(turn.replayOf, principal);
      const isNew = plan.sessionId === null;
      this.#startAnswers(turn, payer, reservation);
      const count = isNew ? 1 + turn.answers.length : await this.#deps.sessions.messageCount(turn.session.id);
      return sentOf(turn, count);
    } finally {
      reservation.release();
    }
  }

  #startAnswers({ session, question, answers }: StoredTurn, payer: TokenPayer, reservation: Reservation): void {
    const { events } = this.#deps;
    const sessionId = session.id;
    for (const { id: messageId } of [question, ...answers]) events.publish('chat.session_changed', sessionId, { sessionId, messageId });
    // What begins its session has nothing before it that would have to be looked up.
    const opening = question.parentId === null ? { opening: { systemPrompt: session.systemPrompt, question: question.content } } : {};
    for (const { id: messageId, deploymentId, owner, parameters } of answers) {
      if (deploymentId !== null) reservation.start({ messageId, sessionId, owner, questionId: question.id, deploymentId, parameters, payer, ...opening });
    }
  }

  /** What an earlier call has made, as it is now. */
  async #replay(questionId: string, principal: Principal): Promise<SentMessage> {
    const question = await this.#deps.messages.find(questionId, principal.owner);
    const session = question && (await this.#deps.sessions.find(question.sessionId, principal.owner));
    if (!question || !session) throw sessionNotFound();
    return sentOf({ session, question, answers: await this.#deps.messages.answersOf(question) }, await this.#deps.sessions.messageCount(session.id));
  }

  async #findSession(id: string | undefined, principal: Principal): Promise<ChatSession | null> {
    if (id === undefined) return null;
    const known = knownShape(id);
    const session = known && (await this.#deps.sessions.find(known, principal.owner));
    if (!session) throw sessionNotFound();
    return session;
  }

  async #findMessage(id: string, principal: Principal): Promise<ChatMessage> {
    const message = await this.#deps.messages.find(existing(id), principal.owner);
    if (!message) throw messageNotFound();
    return message;
  }
}

function sentOf({ session, question, answers }: StoredTurn, messageCount: number): SentMessage {
  return { session: toSessionView(session, messageCount), userMessage: toMessageView(question), answers: answers.map(toMessageView) };
}

function existing(id: string): string {
  const known = knownShape(id);
  if (known === null) throw messageNotFound();
  return known;
}

function toClaim({ idempotencyKey, ...input }: SendMessage, { owner }: Principal): IdempotencyClaim | null {
  return idempotencyKey === undefined ? null : { owner, operation: 'chat.send', key: idempotencyKey, requestHash: hashRequest(input) };
}

function wrongRole(message: string, { role }: ChatMessage): AppError {
  return new AppError('INVALID_STATE', message, { details: { status: role, allowed: role === 'user' ? ['assistant'] : ['user'] } });
}
