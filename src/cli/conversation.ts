import { setTimeout as delay } from 'node:timers/promises';
import {
  ChatSessionDetailDocument,
  ChatStreamDocument,
  CreateChatSessionDocument,
  SendChatMessageDocument,
  StopChatMessageDocument,
  type ChatParametersInput,
  type ChatStreamSubscription,
} from '../../schema/generated/graphql.ts';
import { AppError } from '../shared/errors.ts';
import { toRestJson } from '../shared/json-view.ts';
import type { CommandContext } from './context.ts';
import { ServiceUnreachable } from './failure.ts';
import { numberFlag, textFlag, type Flags } from './flags.ts';
import { accept, type ServiceClient } from './service-client.ts';

type StreamEvent = ChatStreamSubscription['chatStream'];

/** How an answer ended. */
export type AnswerEnd = { wasStopped: boolean; usage: StreamEvent['usage'] };

export type ConversationOptions = { context: CommandContext; client: ServiceClient; deploymentId: string };

const stopMs = 5_000;
const reconnectsMax = 5;
const reconnectPauseMs = 500;

function parametersOf(flags: Flags): ChatParametersInput | null {
  const parameters = { temperature: numberFlag(flags, 'temperature'), maxTokens: numberFlag(flags, 'maxTokens'), seed: numberFlag(flags, 'seed') };
  return Object.values(parameters).some((value) => value !== undefined) ? parameters : null;
}

/** One chat session with one deployment, as somebody at a terminal has it. */
export class Conversation {
  readonly #options: ConversationOptions;
  readonly #parameters: ChatParametersInput | null;
  #sessionId: string | null = null;

  constructor(options: ConversationOptions) {
    this.#options = options;
    this.#parameters = parametersOf(options.context.flags);
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
    const input = { sessionId: this.#sessionId, deploymentIds: [deploymentId], message, parameters: this.#parameters };
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
      return session.sessionId;
    }
    const input = { deploymentIds: [deploymentId], systemPrompt: textFlag(context.flags, 'system') ?? null };
    const { session } = accept((await client.execute(CreateChatSessionDocument, { input }, context.signal)).createChatSession);
    return session.sessionId;
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
    output.data({ ...toRestJson(event), session_id: this.#sessionId });
    if (event.type === 'TOKEN' && event.text !== null) output.piece(event.text);
    if (event.type !== 'END') return null;
    output.piece('\n');
    if (event.error) throw new AppError(event.error.code, event.error.message);
    return { wasStopped: event.finishReason === 'STOPPED', usage: event.usage };
  }
}
