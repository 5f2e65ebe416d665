import type { ChatHistoryItem, ChatWrapper, Llama, LlamaChatResponseChunk, LlamaContextSequence, LlamaGrammar, LlamaModel, Token } from 'node-llama-cpp';
import type * as NodeLlamaCpp from 'node-llama-cpp';
import { randomInt } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { chooseChatWrapper } from './chat-template.ts';
import { RequestError } from './request-error.ts';
import { toGrammarSchema } from './response-format.ts';
import { QueueFullError, SlotQueue } from './slots.ts';
import { evaluatePrompt } from './prompt-evaluation.ts';
import type { GenerationRequest } from './requests.ts';
import type { ResponseFormat } from './response-format.ts';

type Library = typeof NodeLlamaCpp;

export type LoadedModel = {
  library: Library;
  llama: Llama;
  model: LlamaModel;
  sequences: readonly LlamaContextSequence[];
  contextSize: number;
  threads: number;
};

/** Where the pieces go as they come. Called synchronously; must not throw. */
export type PieceSink = {
  /** A sequence is there: from now on the request is being worked on. */
  onStart(): void;
  onText(text: string): void;
  onThought(text: string): void;
};

export type GenerationResult = {
  finishReason: 'stop' | 'length';
  promptTokens: number;
  /** Of the prompt, those that were still known from an earlier request. */
  cachedTokens: number;
  completionTokens: number;
  promptMs: number;
  generationMs: number;
};

/** A request whose prompt is rendered and fits; nothing has been generated yet. */
export type PreparedGeneration = { request: GenerationRequest; history: ChatHistoryItem[]; wrapper: ChatWrapper; tokens: Token[]; grammar: LlamaGrammar | undefined };

/** The library stops one token before the end of the context, and needs one free to begin. */
const reservedTokens = 2;
const penaltyLastTokens = 64;
const retryAfterSeconds = 1;

/** Generates answers on a fixed number of sequences, the others waiting in line. */
export class Engine {
  readonly #loaded: LoadedModel;
  readonly #chatWrapper: ChatWrapper;
  readonly #textWrapper: ChatWrapper;
  readonly #slots: SlotQueue<LlamaContextSequence>;

  constructor(loaded: LoadedModel, queueMax: number) {
    this.#loaded = loaded;
    // Once per model: finding the wrapper that matches the model's template renders dozens of test chats.
    this.#chatWrapper = chooseChatWrapper(loaded);
    this.#textWrapper = createTextWrapper(loaded);
    this.#slots = new SlotQueue(loaded.sequences, queueMax);
  }

  get slots(): { idle: number; busy: number; waiting: number } {
    return { idle: this.#slots.idleCount, busy: this.#slots.busyCount, waiting: this.#slots.waitingCount };
  }

  /** Renders the prompt and compiles the grammar; throws a RequestError for what can never be answered. */
  async prepare(request: GenerationRequest): Promise<PreparedGeneration> {
    const wrapper = request.prompt.type === 'chat' ? this.#chatWrapper : this.#textWrapper;
    const history = toHistory(request);
    const tokens = this.#render(wrapper, history);
    const { contextSize } = this.#loaded;
    if (tokens.length + reservedTokens > contextSize) {
      const message = `The prompt is ${tokens.length} tokens long; the model's context holds ${contextSize}.`;
      throw new RequestError(400, 'context_length_exceeded', message, { param: request.prompt.type === 'chat' ? 'messages' : 'prompt' });
    }
    return { request, history, wrapper, tokens, grammar: await this.#grammarFor(request.responseFormat) };
  }

  /** Waits for a sequence, then generates. Rejects with the signal's reason when it aborts, the sequence being free again. */
  async generate(prepared: PreparedGeneration, sink: PieceSink, signal: AbortSignal): Promise<GenerationResult> {
    const sequence = await this.#takeSequence(prepared.tokens, signal);
    try {
      sink.onStart();
      return await this.#generateOn(sequence, prepared, sink, signal);
    } catch (error) {
      // After a failure within llama.cpp nobody knows what the sequence holds; the next request must not build on it.
      if (!signal.aborted) await sequence.clearHistory();
      throw error;
    } finally {
      this.#slots.give(sequence);
    }
  }

  async #takeSequence(tokens: Token[], signal: AbortSignal): Promise<LlamaContextSequence> {
    try {
      // The sequence that knows most of this prompt already: the next turn of a chat then costs only what is new.
      return await this.#slots.take((sequence) => sequence.compareContextTokens(tokens).firstDifferentIndex, signal);
    } catch (error) {
      if (!(error instanceof QueueFullError)) throw error;
      throw new RequestError(503, 'overloaded', 'As many requests wait already as may; try again soon.', { retryAfterSeconds });
    }
  }

  async #generateOn(sequence: LlamaContextSequence, prepared: PreparedGeneration, sink: PieceSink, signal: AbortSignal): Promise<GenerationResult> {
    const { library, contextSize } = this.#loaded;
    const { request, history, wrapper, tokens, grammar } = prepared;
    const startedAt = performance.now();
    const cachedTokens = await evaluatePrompt(sequence, tokens, signal);
    let firstPieceAt: number | undefined;
    let completionTokens = 0;
    const onResponseChunk = (chunk: LlamaChatResponseChunk): void => {
      firstPieceAt ??= performance.now();
      completionTokens += chunk.tokens.length;
      if (chunk.text === '') return;
      if (chunk.segmentType === 'thought') sink.onThought(chunk.text);
      else if (chunk.type === undefined) sink.onText(chunk.text);
    };
    const chat = new library.LlamaChat({ contextSequence: sequence, chatWrapper: wrapper, autoDisposeSequence: false });
    try {
      const answer = await chat.generateResponse(history, {
        ...samplingOptions(request),
        ...(grammar === undefined ? {} : { grammar }),
        maxTokens: Math.min(request.maxTokens ?? Infinity, contextSize - tokens.length - reservedTokens + 1),
        customStopTriggers: request.stop,
        signal,
        onResponseChunk,
      });
      const endedAt = performance.now();
      const finishReason = answer.metadata.stopReason === 'maxTokens' ? 'length' : 'stop';
      const promptMs = (firstPieceAt ?? endedAt) - startedAt;
      return { finishReason, promptTokens: tokens.length, cachedTokens, completionTokens, promptMs, generationMs: endedAt - startedAt - promptMs };
    } finally {
      chat.dispose({ disposeSequence: false });
    }
  }

  #render(wrapper: ChatWrapper, history: ChatHistoryItem[]): Token[] {
    try {
      return wrapper.generateContextState({ chatHistory: history }).contextText.tokenize(this.#loaded.model.tokenizer);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new RequestError(400, 'chat_template_refused', `The model's chat template does not accept this conversation: ${reason}`, { param: 'messages' });
    }
  }

  async #grammarFor(format: ResponseFormat): Promise<LlamaGrammar | undefined> {
    if (format.type === 'text') return undefined;
    const { llama } = this.#loaded;
    if (format.type === 'json_object') return await llama.getGrammarFor('json');
    const schema = toGrammarSchema(format.schema);
    try {
      // The library's type describes literals known at compile time; this one comes from a caller and is checked above.
      return await llama.createGrammarForJsonSchema(schema as { type: 'object' });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new RequestError(400, 'unsupported_response_format', `response_format: no grammar can be made of this schema: ${reason}`, { param: 'response_format' });
    }
  }
}

function samplingOptions({ sampling }: GenerationRequest): object {
  const { temperature, topP, topK, minP, seed, presencePenalty, frequencyPenalty, repeatPenalty } = sampling;
  const penalises = presencePenalty !== 0 || frequencyPenalty !== 0 || repeatPenalty !== 1;
  return {
    temperature,
    topP,
    topK,
    minP,
    // The library would take the second of the clock: two requests of one second would answer alike.
    seed: seed === null ? randomInt(2 ** 32) : Number(BigInt.asUintN(32, BigInt(seed))),
    repeatPenalty: penalises && { lastTokens: penaltyLastTokens, penalty: repeatPenalty, presencePenalty, frequencyPenalty },
  };
}

/** An answer that the caller began (a last message of the assistant) is gone on with. */
function toHistory({ prompt }: GenerationRequest): ChatHistoryItem[] {
  if (prompt.type === 'text') return [{ type: 'user', text: prompt.text }, { type: 'model', response: [] }];
  const history = prompt.messages.map(({ role, text }): ChatHistoryItem => {
    if (role === 'assistant') return { type: 'model', response: [text] };
    return role === 'system' ? { type: 'system', text } : { type: 'user', text };
  });
  return history.at(-1)?.type === 'model' ? history : [...history, { type: 'model', response: [] }];
}

/** For `/v1/completions`: the prompt as it is, special tokens included, without a template around it. */
function createTextWrapper({ library, model }: LoadedModel): ChatWrapper {
  const { ChatWrapper: Base, LlamaText, SpecialToken, SpecialTokensText } = library;
  class TextWrapper extends Base {
    readonly wrapperName = 'Text';
    override generateContextState({ chatHistory }: Parameters<ChatWrapper['generateContextState']>[0]): ReturnType<ChatWrapper['generateContextState']> {
      const texts = chatHistory.map((item) =>
        item.type === 'model' ? this.generateModelResponseText(item.response) : new SpecialTokensText(typeof item.text === 'string' ? item.text : ''),
      );
      const start = model.tokens.shouldPrependBosToken ? [new SpecialToken('BOS')] : [];
      return { contextText: LlamaText([...start, ...texts]), stopGenerationTriggers: [LlamaText(new SpecialToken('EOS'))] };
    }
  }
  return new TextWrapper();
}
