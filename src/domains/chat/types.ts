import type { StoredError } from '../../shared/errors.ts';
import type { Page, PageRequest } from '../../shared/paging.ts';
import type { Principal } from '../../shared/principal.ts';
import type { PushStream } from '../../shared/push-stream.ts';

/** Sampling fields that are passed on; anything else is refused. */
export type ChatParameters = {
  /** 0..2 */
  temperature?: number;
  /** 0..1 */
  topP?: number;
  topK?: number;
  maxTokens?: number;
  stop?: readonly string[];
  seed?: number;
  presencePenalty?: number;
  frequencyPenalty?: number;
  repeatPenalty?: number;
  responseFormat?: { type: 'text' | 'json_object' } | { type: 'json_schema'; jsonSchema: Readonly<Record<string, unknown>> };
};

export const messageStatuses = ['streaming', 'completed', 'stopped', 'interrupted', 'failed'] as const;
export type MessageStatus = (typeof messageStatuses)[number];
export type MessageRole = 'system' | 'user' | 'assistant';
export type FinishReason = 'stop' | 'length' | 'stopped' | 'error';

export type MessageUsage = {
  /** Null when the engine did not tell, which it does only at a regular end. */
  promptTokens: number | null;
  /** The engine's count; of an answer that was cut short, the pieces that it sent. */
  completionTokens: number;
  timeToFirstTokenMs: number | null;
  tokensPerSecond: number | null;
  /** Earlier messages of the branch that the model did not get, because its context has no room for them. */
  messagesLeftOut: number | null;
};

export type ChatMessageView = {
  id: string;
  sessionId: string;
  parentId: string | null;
  role: MessageRole;
  content: string;
  deploymentId: string | null;
  modelId: string | null;
  status: MessageStatus;
  parameters: ChatParameters;
  usage: MessageUsage | null;
  finishReason: FinishReason | null;
  error: StoredError | null;
  createdAt: Date;
  finishedAt: Date | null;
};

export type ChatSessionView = {
  id: string;
  title: string;
  owner: string;
  systemPrompt: string | null;
  parameters: ChatParameters;
  deploymentIds: readonly string[];
  messageCount: number;
  createdAt: Date;
  updatedAt: Date;
};

export type CreateSession = { title?: string; deploymentIds?: readonly string[]; systemPrompt?: string; parameters?: ChatParameters };

export type SendMessage = {
  /** Missing: a new session is made. */
  sessionId?: string;
  /** Missing: the session's. One answer for each. */
  deploymentIds?: readonly string[];
  message: string;
  parameters?: ChatParameters;
  /** Answer below this message instead of the newest. */
  parentId?: string;
  idempotencyKey?: string;
};

/** The user's message and one answer for each deployment, still `streaming`. */
export type SentMessage = { session: ChatSessionView; userMessage: ChatMessageView; answers: readonly ChatMessageView[] };

/** What `chatStream` and `/ws/chat/stream` send for one answer. */
export type ChatStreamEvent =
  /** `index`: the last piece that the reader has already, -1 for none; so every event's index may be sent as `after`. */
  | { type: 'start'; messageId: string; deploymentId: string | null; index: number }
  | { type: 'token'; messageId: string; deploymentId: string | null; index: number; text: string }
  | {
      type: 'end';
      messageId: string;
      deploymentId: string | null;
      /** The last piece's; -1 when there was none. */
      index: number;
      status: MessageStatus;
      usage: MessageUsage | null;
      finishReason: FinishReason | null;
      error: StoredError | null;
    };

/** In a session and for a message: one answer for each, and more at once is no comparison any more. */
export const deploymentsMax = 10;

export const exportFormats = ['json', 'markdown', 'jsonl', 'html', 'text'] as const;
export type ExportFormat = (typeof exportFormats)[number];
/** Sessions that were made of a file of this service, of Open WebUI or of ChatGPT. */
export type ImportedSessions = {
  sessions: readonly ChatSessionView[];
  /** Conversations of the file that hold no message, or that are more than one call takes. */
  skippedCount: number;
};
export type ExportedSession = { fileName: string; contentType: string; chunks: AsyncIterable<string> };

/**
 * Use cases of chat; `ChatService` implements it. A session that belongs to another owner is as good as missing,
 * on every path.
 */
export type Chat = {
  createSession(input: CreateSession, principal: Principal, signal: AbortSignal): Promise<ChatSessionView>;
  updateSession(id: string, change: Partial<CreateSession>, principal: Principal): Promise<ChatSessionView>;
  /** Unfinished answers are stopped first. */
  deleteSession(id: string, principal: Principal, signal: AbortSignal): Promise<void>;
  getSession(id: string, principal: Principal): Promise<ChatSessionView>;
  findSession(id: string, principal: Principal): Promise<ChatSessionView | null>;
  listSessions(filter: { search?: string }, page: PageRequest, principal: Principal): Promise<Page<ChatSessionView>>;
  /** Oldest first. */
  messages(sessionId: string, page: PageRequest, principal: Principal): Promise<Page<ChatMessageView>>;
  /** The first `limit` messages of each of these sessions (the caller's own), oldest first, in one query. */
  firstMessages(sessionIds: readonly string[], limit: number, principal: Principal): Promise<ReadonlyMap<string, Page<ChatMessageView>>>;
  findMessage(id: string, principal: Principal): Promise<ChatMessageView | null>;
  /**
   * Stores the message and the empty answers, starts generating and returns. Throws CHAT_SESSION_NOT_FOUND,
   * DEPLOYMENT_NOT_FOUND, INVALID_STATE, RUNTIME_UNAVAILABLE, OVERLOADED, IDEMPOTENCY_CONFLICT, VALIDATION_FAILED.
   */
  send(input: SendMessage, principal: Principal, signal: AbortSignal): Promise<SentMessage>;
  /** A further answer beside the given one. */
  regenerate(messageId: string, parameters: ChatParameters | undefined, principal: Principal, signal: AbortSignal): Promise<SentMessage>;
  /** A sibling of the given user message with other text, and its answers. */
  edit(messageId: string, message: string, principal: Principal, signal: AbortSignal): Promise<SentMessage>;
  /** Frees the runtime's slot; the partial text stays. Stopping an ended one answers it. */
  stop(messageId: string, principal: Principal, signal: AbortSignal): Promise<ChatMessageView>;
  /**
   * Every piece after `after` (-1 = from the start), then live, then `end`. An answer that ended long ago comes in
   * the pieces in which it was made, so that a position means the same for ever. Rejects with CHAT_MESSAGE_NOT_FOUND; ends quietly with the signal.
   */
  stream(messageId: string, after: number, principal: Principal, signal: AbortSignal): Promise<PushStream<ChatStreamEvent>>;
  /** Resolves when the answer has ended. */
  waitForEnd(messageId: string, principal: Principal, signal: AbortSignal): Promise<ChatMessageView>;
  /** The session and its newest messages, again after each change. */
  watchSession(id: string, principal: Principal, signal: AbortSignal): AsyncIterable<{ session: ChatSessionView; message: ChatMessageView | null }>;
  /**
   * Stores the conversations of `content` as new sessions of the caller, all or none. Throws VALIDATION_FAILED for what is no
   * such file, PAYLOAD_TOO_LARGE.
   */
  import(content: string, principal: Principal, signal: AbortSignal): Promise<ImportedSessions>;
  export(sessionId: string, format: ExportFormat, principal: Principal, signal: AbortSignal): Promise<ExportedSession>;
};
