import { toOpenAiSampling } from '../../../shared/sampling.ts';
import type { ChatMessage, ChatSession } from '../chat.entity.ts';
import { ownFormat, ownVersion } from '../import/own-format.ts';
import type { ChatParameters } from '../types.ts';
import type { ExportSource } from './export-source.ts';

/** One JSON document, written message by message; its end is only there when all of it is. */
export async function* writeJson({ session, messages, exportedAt }: ExportSource): AsyncGenerator<string> {
  const head = { format: ownFormat, version: ownVersion, exported_at: exportedAt.toISOString(), session: toSession(session) };
  yield `${JSON.stringify(head, null, 2).slice(0, -2)},\n  "messages": [`;
  let separator = '\n    ';
  for await (const message of messages()) {
    yield `${separator}${JSON.stringify(toMessage(message))}`;
    separator = ',\n    ';
  }
  yield '\n  ]\n}\n';
}

function toSession({ id, title, systemPrompt, parameters, deploymentIds, createdAt, updatedAt }: ChatSession): Record<string, unknown> {
  return {
    session_id: id,
    title,
    system_prompt: systemPrompt,
    parameters: toParameters(parameters),
    deployment_ids: deploymentIds,
    created_at: createdAt.toISOString(),
    updated_at: updatedAt.toISOString(),
  };
}

function toMessage(message: ChatMessage): Record<string, unknown> {
  const { usage } = message;
  return {
    message_id: message.id,
    parent_id: message.parentId,
    role: message.role,
    content: message.content,
    deployment_id: message.deploymentId,
    model_id: message.modelId,
    status: message.status,
    parameters: toParameters(message.parameters),
    usage: usage && {
      prompt_tokens: usage.promptTokens,
      completion_tokens: usage.completionTokens,
      time_to_first_token_ms: usage.timeToFirstTokenMs,
      tokens_per_second: usage.tokensPerSecond,
      messages_left_out: usage.messagesLeftOut,
    },
    finish_reason: message.finishReason,
    error: message.error,
    created_at: message.createdAt.toISOString(),
    finished_at: message.finishedAt?.toISOString() ?? null,
  };
}

function toParameters(parameters: ChatParameters): Record<string, unknown> {
  const { maxTokens, stop, responseFormat: format } = parameters;
  return {
    ...toOpenAiSampling(parameters),
    max_tokens: maxTokens,
    stop,
    response_format: format?.type === 'json_schema' ? { type: format.type, json_schema: format.jsonSchema } : format,
  };
}
