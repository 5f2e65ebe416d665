import type { SqlEntityManager } from '@mikro-orm/sql';
import { AppError } from '../../shared/errors.ts';
import { newId } from '../../shared/ids.ts';
import { claimIdempotencyKey, type IdempotencyClaim } from '../../shared/persistence/idempotency.repository.ts';
import { readRow } from '../../shared/persistence/read-rows.repository.ts';
import { StateEvent } from '../../shared/persistence/state-event.entity.ts';
import { insertOf, runTogether, updateOf } from '../../shared/persistence/write-rows.repository.ts';
import { ChatMessage, ChatSession, type MessageRow, type SessionRow } from './chat.entity.ts';
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

export type StoredTurn = { session: SessionRow; question: MessageRow; answers: MessageRow[] };

/** Stores a turn as a whole or not at all. `replayOf`: the question that an earlier call with the same key has made. */
export async function storeTurn(em: SqlEntityManager, request: TurnRequest): Promise<StoredTurn | { replayOf: string }> {
  const fork = em.fork();
  // Of a new session nothing is read before it is written, and what is written goes as one.
  if (request.sessionId === null && !request.claim) return await writeTurn(fork, request, newId());
  return await fork.transactional(async (tx) => {
    const questionId = newId();
    if (request.claim) {
      const earlier = await claimIdempotencyKey(tx, request.claim, questionId, request.at);
      if (earlier !== null) return { replayOf: earlier };
    }
    return await writeTurn(tx, request, questionId);
  });
}

async function writeTurn(em: SqlEntityManager, request: TurnRequest, questionId: string): Promise<StoredTurn> {
  const { at, sessionId } = request;
  const before = await takeSession(em, request);
  const question = await takeQuestion(em, request, before, questionId);
  const answers = request.answerers.map((answerer) => makeAnswer(request, question, { ...answerer, parameters: mergeParameters(before.parameters, request.parameters) }));
  const change = {
    title: before.title === '' ? deriveTitle(question.content) : before.title,
    deploymentIds: before.deploymentIds.length === 0 ? request.answerers.map(({ deploymentId }) => deploymentId) : before.deploymentIds,
    updatedAt: at,
  };
  const session = { ...before, ...change };
  const [first, ...others] = request.question.type === 'new' ? [question, ...answers] : answers;
  await runTogether(em, [
    sessionId === null ? insertOf(em, ChatSession, [session]) : updateOf(em, ChatSession, change, [['id = ?', session.id]]),
    ...(first ? [insertOf(em, ChatMessage, [first, ...others])] : []),
    ...answers.map(({ id: subjectId }) => insertOf(em, StateEvent, [{ kind: chatMessageMachine.name, subjectId, fromState: null, toState: 'streaming', reason: null, at }])),
  ]);
  return { session, question, answers };
}

async function takeSession(em: SqlEntityManager, { sessionId, owner, at, systemPrompt = null }: TurnRequest): Promise<SessionRow> {
  if (sessionId === null) return { id: newId(), title: '', owner, systemPrompt, parameters: {}, deploymentIds: [], createdAt: at, updatedAt: at };
  const session = await SessionRepository.lock(em, sessionId, owner);
  if (!session) throw sessionNotFound();
  return session;
}

async function takeQuestion(em: SqlEntityManager, request: TurnRequest, session: SessionRow, id: string): Promise<MessageRow> {
  const { question, owner, at, parameters } = request;
  if (question.type === 'stored') {
    const stored = await readRow(em, ChatMessage, [['id = ?', question.id], ['session_id = ?', session.id], ['owner = ?', owner]]);
    if (!stored) throw messageNotFound();
    return stored;
  }
  return {
    id,
    sessionId: session.id,
    owner,
    parentId: await takeParent(em, request, session, question.parent),
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
  };
}

async function takeParent(em: SqlEntityManager, { sessionId }: TurnRequest, session: SessionRow, wanted: NewQuestion['parent']): Promise<string | null> {
  // A new session has no message yet.
  if (wanted === 'none' || (wanted === 'newest' && sessionId === null)) return null;
  // The newest of those that match.
  const parent = await readRow(em, ChatMessage, [['session_id = ?', session.id], ['owner = ?', session.owner], ['id = ?', wanted === 'newest' ? undefined : wanted.id]]);
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

function makeAnswer(
  { owner, instanceId, at }: TurnRequest,
  question: MessageRow,
  answerer: { deploymentId: string; modelId: string | null; parameters: ChatParameters },
): MessageRow {
  return {
    id: newId(),
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
  };
}
