import { setTimeout as delay } from 'node:timers/promises';
import {
  ChatSessionDetailDocument,
  ChatStreamDocument,
  CreateChatSessionDocument,
  ExportChatSessionDocument,
  SendChatMessageDocument,
  StopChatMessageDocument,
  UpdateChatSessionDocument,
  type ChatStreamSubscription,
  type ExportFormat,
} from '../../schema/generated/graphql.ts';
import { AppError } from '../shared/errors.ts';
import { toRestJson } from '../shared/json-view.ts';
import { ChatSettings } from './chat-settings.ts';
import type { CommandContext } from './context.ts';
import { ServiceUnreachable } from './failure.ts';
import { textFlag } from './flags.ts';
import { accept, type ServiceClient } from './service-client.ts';

type StreamEvent = ChatStreamSubscription['chatStream'];

/** How an answer ended. */
export type AnswerEnd = { wasStopped: boolean; usage: StreamEvent['usage'] };

export type ExportedConversation = { fileName: string; content: string };

export type ConversationOptions = { context: CommandContext; client: ServiceClient; deploymentId: string };

const stopMs = 5_000;
const reconnectsMax = 5;
const reconnectPauseMs = 500;

/** One chat session with one deployment, as somebody at a terminal has it. */
export class Conversation {
  readonly settings: ChatSettings;
  readonly #options: ConversationOptions;
  #sessionId: string | null = null;
  /** The instructions that the session has. */
  #system: string | null = null;

  constructor(options: ConversationOptions) {
    this.#options = options;
    this.settings = new ChatSettings(options.context.flags);
  }

  /** Null until something was said. */
  get sessionId(): string | null {
    return this.#sessionId;
  }

  /** What is said next begins a session of its own. */
  forget(): void {
    this.#sessionId = null;
  }

  /** Says it and writes the answer as it comes. The first interrupt stops the answer, here and in the service. */
  async ask(message: string): Promise<AnswerEnd> {
    const { context, client, deploymentId } = this.#options;
    this.#sessionId ??= await this.#openSession();
    await this.#renewSystem(this.#sessionId);
    const input = { sessionId: this.#sessionId, deploymentIds: [deploymentId], message, parameters: this.settings.parameters };
    const { answers } = accept((await client.execute(SendChatMessageDocument, { input }, context.signal)).sendChatMessage);
    const messageId = answers[0]?.messageId;
    if (messageId === undefined) throw new AppError('INTERNAL', 'The service has begun no answer.');
    let stopping: Promise<void> | null = null;
    const release = context.interrupts.stopFirst(() => {
      stopping = this.#stop(messageId);
    });
    try {
      return await this.#read(messageId);
    } catch (error) {
      // Whoever ends the program ends what nobody will read, too.
      stopping ??= this.#stop(messageId);
      throw error;
    } finally {
      release();
      await stopping;
    }
  }

  async #openSession(): Promise<string> {
    const { context, client, deploymentId } = this.#options;
    const given = textFlag(context.flags, 'session');
    if (given !== undefined) {
      const { session } = await client.execute(ChatSessionDetailDocument, { sessionId: given }, context.signal);
      if (!session) throw new AppError('CHAT_SESSION_NOT_FOUND', `There is no chat session ${given}; "llm-manager sessions" lists them.`);
      this.#system = session.systemPrompt;
      if (this.settings.system === null && this.#system !== null) this.settings.set('system', this.#system);
      return session.sessionId;
    }
    const { system } = this.settings;
    const input = { deploymentIds: [deploymentId], systemPrompt: system };
    const { session } = accept((await client.execute(CreateChatSessionDocument, { input }, context.signal)).createChatSession);
    this.#system = system;
    return session.sessionId;
  }

  /** The conversation in a file's form. */
  async export(format: ExportFormat): Promise<ExportedConversation> {
    const { context, client } = this.#options;
    if (this.#sessionId === null) throw new AppError('INVALID_STATE', 'Nothing was said yet.');
    return accept((await client.execute(ExportChatSessionDocument, { input: { sessionId: this.#sessionId, format } }, context.signal)).exportChatSession);
  }

  /** Instructions that were changed in between count from the next message on. */
  async #renewSystem(sessionId: string): Promise<void> {
    const { system } = this.settings;
    if (system === this.#system) return;
    const { context, client } = this.#options;
    accept((await client.execute(UpdateChatSessionDocument, { input: { sessionId, systemPrompt: system ?? '' } }, context.signal)).updateChatSession);
    this.#system = system;
  }

  async #stop(messageId: string): Promise<void> {
    try {
      await this.#options.client.execute(StopChatMessageDocument, { input: { messageId } }, AbortSignal.timeout(stopMs));
    } catch (error) {
      this.#options.context.output.note(`The answer could not be stopped: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  /** Goes on after the last piece when the connection breaks. */
  async #read(messageId: string): Promise<AnswerEnd> {
    const { client, context } = this.#options;
    let after: number | null = null;
    for (let failures = 0; ; ) {
      try {
        for await (const { chatStream } of client.subscribe(ChatStreamDocument, { messageId, after }, context.signal)) {
          failures = 0;
          if (chatStream.type === 'TOKEN') after = chatStream.index;
          const end = this.#show(chatStream);
          if (end) return end;
        }
        throw new ServiceUnreachable('The answer ended without its end.');
      } catch (error) {
        failures += 1;
        if (!(error instanceof ServiceUnreachable) || failures > reconnectsMax) throw error;
        await delay(reconnectPauseMs, undefined, { signal: context.signal });
      }
    }
  }

  #show(event: StreamEvent): AnswerEnd | null {
    const { output } = this.#options.context;
    const { text, ...others } = event;
    output.data({ ...toRestJson(typeof text === 'string' ? event : others), session_id: this.#sessionId });
    if (event.type === 'TOKEN' && event.text !== null) output.piece(event.text);
    if (event.type !== 'END') return null;
    output.piece('\n');
    if (event.error) throw new AppError(event.error.code, event.error.message);
    return { wasStopped: event.finishReason === 'STOPPED', usage: event.usage };
  }
}
