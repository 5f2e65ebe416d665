import type { SqlEntityManager } from '@mikro-orm/sql';
import { AppError } from '../../shared/errors.ts';
import { newId } from '../../shared/ids.ts';
import { claimIdempotencyKey, type IdempotencyClaim } from '../../shared/persistence/idempotency.repository.ts';
import { StateEvent } from '../../shared/persistence/state-event.entity.ts';
import { ChatMessage, ChatSession } from './chat.entity.ts';
import { chatMessageMachine } from './chat-message.machine.ts';
import { messageNotFound, sessionNotFound } from './faults.ts';
import { mergeParameters } from './parameters.ts';
import { SessionRepository } from './session.repository.ts';
import type { ChatParameters } from './types.ts';
import { deriveTitle } from './views.ts';

/** One question and the answers that are about to be made. */
export type TurnRequest = {
  owner: string;
  /** Null: a new session that talks to the same deployments. */
  sessionId: string | null;
  question: NewQuestion | StoredQuestion;
  answerers: readonly { deploymentId: string; modelId: string | null }[];
  /** Of this turn; they win over the session's. */
  parameters: ChatParameters;
  instanceId: string;
  at: Date;
  claim: IdempotencyClaim | null;
  /** Of a new session; an existing one keeps its own. */
  systemPrompt?: string | null;
};

type NewQuestion = { type: 'new'; text: string; parent: 'newest' | 'none' | { id: string } };
type StoredQuestion = { type: 'stored'; id: string };

export type StoredTurn = { session: ChatSession; question: ChatMessage; answers: ChatMessage[] };

/** Stores a turn as a whole or not at all. `replayOf`: the question that an earlier call with the same key has made. */
export async function storeTurn(em: SqlEntityManager, request: TurnRequest): Promise<StoredTurn | { replayOf: string }> {
  return await em.fork().transactional(async (tx) => {
    const questionId = newId();
    if (request.claim) {
      const earlier = await claimIdempotencyKey(tx, request.claim, questionId, request.at);
      if (earlier !== null) return { replayOf: earlier };
    }
    const session = await takeSession(tx, request);
    const question = await takeQuestion(tx, request, session, questionId);
    const answers = request.answerers.map((answerer) => createAnswer(tx, request, question, { ...answerer, parameters: mergeParameters(session.parameters, request.parameters) }));
    if (session.title === '') session.title = deriveTitle(question.content);
    if (session.deploymentIds.length === 0) session.deploymentIds = request.answerers.map(({ deploymentId }) => deploymentId);
    session.updatedAt = request.at;
    return { session, question, answers };
  });
}

async function takeSession(tx: SqlEntityManager, { sessionId, owner, at, systemPrompt = null }: TurnRequest): Promise<ChatSession> {
  if (sessionId === null) {
    return tx.create(ChatSession, { id: newId(), title: '', owner, systemPrompt, parameters: {}, deploymentIds: [], createdAt: at, updatedAt: at });
  }
  const session = await SessionRepository.lock(tx, sessionId, owner);
  if (!session) throw sessionNotFound();
  return session;
}

async function takeQuestion(tx: SqlEntityManager, request: TurnRequest, session: ChatSession, id: string): Promise<ChatMessage> {
  const { question, owner, at, parameters } = request;
  if (question.type === 'stored') {
    const stored = await tx.findOne(ChatMessage, { id: question.id, sessionId: session.id, owner });
    if (!stored) throw messageNotFound();
    return stored;
  }
  const parentId = await takeParent(tx, session, question.parent);
  return tx.create(ChatMessage, {
    id,
    sessionId: session.id,
    owner,
    parentId,
    role: 'user',
    content: question.text,
    pieceLengths: '',
    deploymentId: null,
    modelId: null,
    status: 'completed',
    parameters,
    usage: null,
    finishReason: null,
    error: null,
    instanceId: null,
    createdAt: at,
    finishedAt: at,
  });
}

async function takeParent(tx: SqlEntityManager, session: ChatSession, wanted: NewQuestion['parent']): Promise<string | null> {
  if (wanted === 'none') return null;
  const where = { sessionId: session.id, owner: session.owner };
  const parent = await tx.findOne(ChatMessage, wanted === 'newest' ? where : { ...where, id: wanted.id }, { orderBy: { id: 'desc' } });
  if (!parent) {
    if (wanted === 'newest') return null;
    throw messageNotFound();
  }
  if (parent.status === 'streaming') {
    throw new AppError('INVALID_STATE', 'The answer before this message is still being written: wait for its end or stop it.', {
      details: { status: parent.status, allowed: chatMessageMachine.states.filter((state) => chatMessageMachine.isFinal(state)) },
    });
  }
  return parent.id;
}

function createAnswer(
  tx: SqlEntityManager,
  { owner, instanceId, at }: TurnRequest,
  question: ChatMessage,
  answerer: { deploymentId: string; modelId: string | null; parameters: ChatParameters },
): ChatMessage {
  const id = newId();
  tx.create(StateEvent, { kind: chatMessageMachine.name, subjectId: id, fromState: null, toState: 'streaming', reason: null, at });
  return tx.create(ChatMessage, {
    id,
    sessionId: question.sessionId,
    owner,
    parentId: question.id,
    role: 'assistant',
    content: '',
    pieceLengths: '',
    ...answerer,
    status: 'streaming',
    usage: null,
    finishReason: null,
    error: null,
    instanceId,
    createdAt: at,
    finishedAt: null,
  });
}
