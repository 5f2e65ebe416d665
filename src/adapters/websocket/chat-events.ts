import type { ChatStreamSubscription } from '../../../schema/generated/graphql.ts';
import { toRestJson } from '../../shared/json-view.ts';

type StreamEvent = ChatStreamSubscription['chatStream'];

/** What `/ws/chat/stream` and server-sent events send about one answer. */
export type ChatObject = Readonly<Record<string, unknown>> & { type: 'start' | 'token' | 'end' | 'error'; index: number };

/** The objects that one event of an answer becomes; the end of a failed answer is told by `error`, then by `end`. */
export function toChatObjects(event: StreamEvent, requestId: string | null): ChatObject[] {
  const { messageId, deploymentId, index } = event;
  const place = { request_id: requestId, message_id: messageId, deployment_id: deploymentId };
  if (event.type === 'START') return [{ type: 'start', ...place, index }];
  if (event.type === 'TOKEN') return [{ type: 'token', ...place, index, text: event.text ?? '' }];
  const usage = event.usage && toRestJson(event.usage);
  const end: ChatObject = { type: 'end', ...place, index, usage, finish_reason: event.finishReason?.toLowerCase() ?? null };
  return event.error ? [{ type: 'error', ...place, index, error: event.error }, end] : [end];
}
