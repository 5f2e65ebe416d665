import { z } from 'zod';
import { RequestError } from './request-error.ts';
import type { ResponseFormat } from './response-format.ts';

export type Message = { role: 'system' | 'user' | 'assistant'; text: string };

export type Sampling = {
  temperature: number;
  topP: number;
  topK: number;
  minP: number;
  seed: number | null;
  presencePenalty: number;
  frequencyPenalty: number;
  repeatPenalty: number;
};

export type GenerationRequest = {
  prompt: { type: 'chat'; messages: readonly Message[] } | { type: 'text'; text: string };
  sampling: Sampling;
  /** null = until the context is full. */
  maxTokens: number | null;
  stop: readonly string[];
  responseFormat: ResponseFormat;
  stream: boolean;
  includeUsage: boolean;
};

const textPart = z.object({ type: z.literal('text'), text: z.string() });
const message = z.object({
  role: z.enum(['system', 'developer', 'user', 'assistant']),
  content: z.union([z.string(), z.array(textPart)]).nullish(),
});
const stopText = z.string().min(1).max(256);

/** Parameters that would change the answer if we ignored them: refused, with their name. */
const unsupported = ['tools', 'functions', 'tool_choice', 'function_call', 'logprobs', 'top_logprobs', 'logit_bias', 'echo', 'suffix'] as const;

const common = {
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_k: z.int().min(0).max(1_000_000).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  max_tokens: z.int().min(1).nullish(),
  max_completion_tokens: z.int().min(1).nullish(),
  stop: z.union([stopText, z.array(stopText).max(16)]).nullish(),
  seed: z.int().nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  repeat_penalty: z.number().gt(0).max(2).nullish(),
  n: z.literal(1, { error: 'only one answer at a time is supported' }).nullish(),
};
const responseFormat = z
  .discriminatedUnion('type', [
    z.object({ type: z.literal('text') }),
    z.object({ type: z.literal('json_object') }),
    z.object({ type: z.literal('json_schema'), json_schema: z.object({ schema: z.record(z.string(), z.unknown()) }) }),
  ])
  .nullish();
const chatBody = z.object({ ...common, messages: z.array(message).min(1).max(10_000), response_format: responseFormat });
const completionBody = z.object({ ...common, prompt: z.union([z.string(), z.array(z.string()).length(1)]) });

/** The defaults are llama-server's, so that an answer does not depend on which of the two engines runs. */
const samplingDefaults = { temperature: 0.8, topP: 0.95, topK: 40, minP: 0.05 } as const;

type CommonBody = z.infer<z.ZodObject<typeof common>>;

export function parseChatRequest(body: unknown): GenerationRequest {
  const parsed = parse(chatBody, body);
  return {
    ...toCommon(parsed),
    prompt: { type: 'chat', messages: parsed.messages.map(toMessage) },
    responseFormat: toResponseFormat(parsed.response_format),
  };
}

export function parseCompletionRequest(body: unknown): GenerationRequest {
  const parsed = parse(completionBody, body);
  const text = typeof parsed.prompt === 'string' ? parsed.prompt : parsed.prompt.join('');
  return { ...toCommon(parsed), prompt: { type: 'text', text }, responseFormat: { type: 'text' } };
}

/** Throws the first fault as a RequestError that names the parameter. */
export function parse<T>(schema: z.ZodType<T>, body: unknown): T {
  const given = z.record(z.string(), z.unknown()).safeParse(body).data ?? {};
  for (const name of unsupported) {
    if (isSet(given[name])) throw new RequestError(400, 'unsupported_parameter', `${name}: this engine does not support it.`, { param: name });
  }
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const param = issue?.path.join('.') ?? '';
  const detail = issue?.message ?? 'invalid';
  throw new RequestError(400, 'invalid_value', param === '' ? `The body is not valid: ${detail}` : `${param}: ${detail}`, param === '' ? {} : { param });
}

/** Clients send `null`, `false`, `[]`, `"none"` and the like for what they do not use. */
function isSet(value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === 0 || value === '' || value === 'none' || value === 'auto') return false;
  return typeof value !== 'object' || Object.keys(value).length > 0;
}

function toMessage({ role, content }: z.infer<typeof message>): Message {
  const text = typeof content === 'string' ? content : (content ?? []).map((part) => part.text).join('');
  return { role: role === 'developer' ? 'system' : role, text };
}

function toResponseFormat(format: z.infer<typeof responseFormat>): ResponseFormat {
  if (format?.type === 'json_schema') return { type: 'json_schema', schema: format.json_schema.schema };
  return { type: format?.type ?? 'text' };
}

function toCommon(body: CommonBody): Omit<GenerationRequest, 'prompt' | 'responseFormat'> {
  return {
    sampling: {
      temperature: body.temperature ?? samplingDefaults.temperature,
      topP: body.top_p ?? samplingDefaults.topP,
      topK: body.top_k ?? samplingDefaults.topK,
      minP: body.min_p ?? samplingDefaults.minP,
      seed: body.seed ?? null,
      presencePenalty: body.presence_penalty ?? 0,
      frequencyPenalty: body.frequency_penalty ?? 0,
      repeatPenalty: body.repeat_penalty ?? 1,
    },
    maxTokens: body.max_completion_tokens ?? body.max_tokens ?? null,
    stop: typeof body.stop === 'string' ? [body.stop] : (body.stop ?? []),
    stream: body.stream ?? false,
    includeUsage: body.stream_options?.include_usage ?? false,
  };
}
