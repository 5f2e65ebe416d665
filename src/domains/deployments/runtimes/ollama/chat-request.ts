import * as z from 'zod';
import { pickOpenAiSampling, samplingNames, type OpenAiSamplingName } from '../../../../shared/sampling.ts';
import { keepLoaded, type LoadOptions } from './ollama-server.ts';

const part = z.union([
  z.object({ type: z.literal('text'), text: z.string() }),
  z.object({ type: z.literal('image_url'), image_url: z.object({ url: z.string().regex(/^data:image\/[\w.+-]+;base64,/, 'must be a data: URL') }) }),
]);
const toolCall = z.object({ id: z.string().optional(), function: z.object({ name: z.string(), arguments: z.string() }) });
const message = z.object({
  role: z.string(),
  content: z.union([z.string(), z.array(part)]).nullish(),
  tool_calls: z.array(toolCall).nullish(),
  tool_call_id: z.string().nullish(),
  name: z.string().nullish(),
});
const number = z.number().nullish();
// Every name of the list, by the list.
const sampling = Object.fromEntries(samplingNames.map(([, name]) => [name, number])) as Record<OpenAiSamplingName, typeof number>;
const responseFormat = z.union([
  z.object({ type: z.enum(['text', 'json_object']) }),
  z.object({ type: z.literal('json_schema'), json_schema: z.object({ schema: z.record(z.string(), z.unknown()) }) }),
]);

const requestSchema = z.object({
  messages: z.array(message),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  tools: z.array(z.unknown()).nullish(),
  ...sampling,
  min_p: number,
  max_tokens: number, max_completion_tokens: number,
  stop: z.union([z.string(), z.array(z.string())]).nullish(),
  response_format: responseFormat.nullish(),
  reasoning_effort: z.enum(['none', 'minimal', 'low', 'medium', 'high']).nullish(),
});

export type ChatRequest = z.infer<typeof requestSchema>;

/** A request in OpenAI's words; what is not one throws a ZodError. */
export function parseChatRequest(text: string): ChatRequest {
  return requestSchema.parse(JSON.parse(text));
}

/**
 * The same in the words of `/api/chat`. The options of the load come with every request: without them the server would
 * take the model out and load it again with its own.
 */
export function toOllamaRequest(request: ChatRequest, model: string, load: LoadOptions): Record<string, unknown> {
  const options = {
    ...pickOpenAiSampling(request),
    min_p: request.min_p,
    num_predict: request.max_completion_tokens ?? request.max_tokens,
    stop: typeof request.stop === 'string' ? [request.stop] : request.stop,
  };
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined && value !== null));
  return {
    model,
    messages: request.messages.map(toOllamaMessage),
    stream: request.stream === true,
    keep_alive: keepLoaded,
    // A prompt that does not fit is refused, so that the caller knows, not cut in silence.
    truncate: false,
    options: { ...given, ...load },
    ...(request.tools?.length ? { tools: request.tools } : {}),
    ...formatOf(request),
    ...thinkOf(request),
  };
}

function toOllamaMessage({ role, content, tool_calls: calls, tool_call_id: id, name }: z.infer<typeof message>): Record<string, unknown> {
  const parts = typeof content === 'string' ? [{ type: 'text' as const, text: content }] : (content ?? []);
  const text = parts.flatMap((piece) => (piece.type === 'text' ? [piece.text] : [])).join('\n');
  const images = parts.flatMap((piece) => (piece.type === 'image_url' ? [piece.image_url.url.replace(/^[^,]*,/, '')] : []));
  return {
    role: role === 'developer' ? 'system' : role,
    content: text,
    ...(images.length > 0 ? { images } : {}),
    ...(calls?.length ? { tool_calls: calls.map((call) => ({ ...(call.id ? { id: call.id } : {}), function: { name: call.function.name, arguments: parseArguments(call.function.arguments) } })) } : {}),
    ...(id ? { tool_call_id: id } : {}),
    ...(role === 'tool' && name ? { tool_name: name } : {}),
  };
}

/** OpenAI has them as text, Ollama as an object. */
function parseArguments(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

function formatOf({ response_format: format }: ChatRequest): object {
  if (format?.type === 'json_object') return { format: 'json' };
  return format?.type === 'json_schema' ? { format: format.json_schema.schema } : {};
}

function thinkOf({ reasoning_effort: effort }: ChatRequest): object {
  if (effort === undefined || effort === null) return {};
  return { think: effort === 'none' ? false : effort === 'minimal' ? 'low' : effort };
}
