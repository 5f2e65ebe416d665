import { randomUUID } from 'node:crypto';
import * as z from 'zod';

const toolCall = z.object({ id: z.string().optional(), function: z.object({ name: z.string(), arguments: z.record(z.string(), z.unknown()) }) });
const count = z.number().int().min(0).optional();

/** A line of a stream, or the whole answer. */
const frameSchema = z.object({
  message: z.object({ content: z.string().optional(), thinking: z.string().optional(), tool_calls: z.array(toolCall).nullish() }).optional(),
  done: z.boolean().optional(),
  done_reason: z.string().optional(),
  prompt_eval_count: count,
  eval_count: count,
  error: z.string().optional(),
});

export type Frame = z.infer<typeof frameSchema>;

export function parseFrame(text: string): Frame {
  return frameSchema.parse(JSON.parse(text));
}

/** Says one answer in OpenAI's words; call ids and the finish reason need to know what came before. */
export class AnswerInOpenAiWords {
  readonly #model: string;
  readonly #id = `chatcmpl-${randomUUID()}`;
  readonly #created = Math.floor(Date.now() / 1000);
  readonly #includeUsage: boolean;
  #calls = 0;
  #hasBegun = false;

  constructor(model: string, includeUsage: boolean) {
    this.#model = model;
    this.#includeUsage = includeUsage;
  }

  /** The `data` of the events that this line of a stream comes to. */
  events(frame: Frame): string[] {
    if (frame.error !== undefined) return [JSON.stringify(openAiError(frame.error))];
    const delta = this.#delta(frame);
    const events = Object.keys(delta).length > 0 || !this.#hasBegun ? [this.#chunk([{ index: 0, delta: { ...(this.#hasBegun ? {} : { role: 'assistant' }), ...delta }, finish_reason: null }])] : [];
    this.#hasBegun = true;
    if (frame.done !== true) return events;
    events.push(this.#chunk([{ index: 0, delta: {}, finish_reason: this.#finish(frame) }]));
    if (this.#includeUsage) events.push(this.#chunk([], { usage: usageOf(frame) }));
    return [...events, '[DONE]'];
  }

  whole(frame: Frame): object {
    const { content = '', ...rest } = this.#delta(frame);
    const choice = { index: 0, message: { role: 'assistant', content, ...rest }, logprobs: null, finish_reason: this.#finish(frame) };
    return { id: this.#id, object: 'chat.completion', created: this.#created, model: this.#model, choices: [choice], usage: usageOf(frame) };
  }

  #delta({ message }: Frame): { content?: string; reasoning_content?: string; tool_calls?: object[] } {
    return {
      ...(message?.content ? { content: message.content } : {}),
      ...(message?.thinking ? { reasoning_content: message.thinking } : {}),
      ...(message?.tool_calls?.length ? { tool_calls: message.tool_calls.map((call) => this.#toolCall(call)) } : {}),
    };
  }

  #toolCall(call: z.infer<typeof toolCall>): object {
    const index = this.#calls;
    this.#calls += 1;
    return { index, id: call.id ?? `call_${randomUUID()}`, type: 'function', function: { name: call.function.name, arguments: JSON.stringify(call.function.arguments) } };
  }

  #finish({ done_reason: reason }: Frame): string {
    if (this.#calls > 0) return 'tool_calls';
    return reason === 'length' ? 'length' : 'stop';
  }

  #chunk(choices: readonly object[], extra: object = {}): string {
    return JSON.stringify({ id: this.#id, object: 'chat.completion.chunk', created: this.#created, model: this.#model, choices, ...extra });
  }
}

export function openAiError(message: string): object {
  // What a server calls a prompt that is too long has changed from version to version; its kind has a name of its own.
  const isTooLong = /context (length|size|window)|exceeds? .*context|input length/i.test(message);
  return { error: { message, type: 'api_error', param: null, code: isTooLong ? 'context_length_exceeded' : null } };
}

function usageOf({ prompt_eval_count: prompt = 0, eval_count: completion = 0 }: Frame): object {
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion };
}
