import * as z from 'zod';
import { isPlainObject } from '../../domains/chat/parameters.ts';

/** What reaches an engine is named here, with a range: engines compute offsets from what they get. */
const int32Max = 2_147_483_647;
const stopText = z.string().min(1).max(256);
const name = z.string().min(1).max(256);
const plainObject = z.custom<Record<string, unknown>>(isPlainObject, { message: 'must be a JSON object of moderate size' });
const logitBias = z.record(z.string().regex(/^\d{1,10}$/), z.number().min(-100).max(100)).refine((bias) => Object.keys(bias).length <= 1024, 'must not name more than 1024 tokens');

const sampling = {
  model: name,
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_k: z.int().min(0).max(100_000).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  max_tokens: z.int().min(1).max(int32Max).nullish(),
  stop: z.union([stopText, z.array(stopText).max(16)]).nullish(),
  // Many clients send -1 for none.
  seed: z.int().min(-1).max(int32Max).nullish().transform((seed) => (seed === -1 ? null : seed)),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  repeat_penalty: z.number().gt(0).max(2).nullish(),
  logit_bias: logitBias.nullish(),
  n: z.int().min(1).max(16).nullish(),
};

const dataUrl = z.string().regex(/^data:image\/[\w.+-]{1,40};base64,/, 'must be a data: URL of a picture; addresses are not fetched');
const part = z.discriminatedUnion('type', [
  z.object({ type: z.literal('text'), text: z.string() }),
  z.object({ type: z.literal('image_url'), image_url: z.object({ url: dataUrl, detail: z.enum(['auto', 'low', 'high']).optional() }) }),
  z.object({ type: z.literal('input_audio'), input_audio: z.object({ data: z.string(), format: z.enum(['wav', 'mp3']) }) }),
  z.object({ type: z.literal('refusal'), refusal: z.string() }),
]);
const content = z.union([z.string(), z.array(part).max(256)]);
const toolCall = z.object({ id: z.string().max(256), type: z.literal('function'), function: z.object({ name, arguments: z.string() }) });

const message = z.discriminatedUnion('role', [
  z.object({ role: z.literal('system'), content, name: name.optional() }),
  z.object({ role: z.literal('developer'), content, name: name.optional() }),
  z.object({ role: z.literal('user'), content, name: name.optional() }),
  z.object({
    role: z.literal('assistant'),
    content: content.nullish(),
    name: name.optional(),
    reasoning_content: z.string().nullish(),
    refusal: z.string().nullish(),
    tool_calls: z.array(toolCall).max(128).optional(),
  }),
  z.object({ role: z.literal('tool'), content, tool_call_id: z.string().max(256) }),
]);

const tool = z.object({
  type: z.literal('function'),
  function: z.object({ name, description: z.string().max(16_384).optional(), parameters: plainObject.optional(), strict: z.boolean().nullish() }),
});
const toolChoice = z.union([z.enum(['none', 'auto', 'required']), z.object({ type: z.literal('function'), function: z.object({ name }) })]);
const responseFormat = z.discriminatedUnion('type', [
  z.object({ type: z.literal('text') }),
  z.object({ type: z.literal('json_object') }),
  z.object({ type: z.literal('json_schema'), json_schema: z.object({ name, description: z.string().max(16_384).optional(), schema: plainObject.optional(), strict: z.boolean().nullish() }) }),
]);

export const chatCompletionBody = z.object({
  ...sampling,
  messages: z.array(message).min(1).max(10_000),
  max_completion_tokens: z.int().min(1).max(int32Max).nullish(),
  response_format: responseFormat.nullish(),
  tools: z.array(tool).max(128).nullish(),
  tool_choice: toolChoice.nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(20).nullish(),
  reasoning_effort: z.enum(['none', 'minimal', 'low', 'medium', 'high', 'xhigh']).nullish(),
});

const token = z.int().min(0).max(int32Max);
const tokens = z.array(token).min(1).max(1_000_000);

export const completionBody = z.object({
  ...sampling,
  prompt: z.union([z.string(), z.array(z.string()).min(1).max(64), tokens, z.array(tokens).min(1).max(64)]),
  best_of: z.int().min(1).max(16).nullish(),
  echo: z.boolean().nullish(),
  logprobs: z.int().min(0).max(20).nullish(),
  suffix: z.string().nullish(),
});

export const embeddingsBody = z.object({
  model: name,
  input: z.union([z.string().min(1), z.array(z.string().min(1)).min(1).max(2048), tokens, z.array(tokens).min(1).max(2048)]),
  encoding_format: z.enum(['float', 'base64']).nullish(),
  dimensions: z.int().min(1).max(65_536).nullish(),
});

/** Known to OpenAI's clients, with a meaning that would be lost in silence. */
export const refusedFields = ['functions', 'function_call', 'audio', 'prediction', 'web_search_options'] as const;

export type ChatCompletionBody = z.infer<typeof chatCompletionBody>;
