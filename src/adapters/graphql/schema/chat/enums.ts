import type { ChatStreamEvent, ExportFormat as Format, FinishReason as Reason, MessageRole as MRole, MessageStatus as Status } from '../../../../domains/chat/types.ts';
import { enumOf } from '../../enums.ts';

export const MessageStatus = enumOf<Status>('MessageStatus', 'Where a message stands.', {
  streaming: 'Being written.',
  completed: 'Complete.',
  stopped: 'Ended by somebody; the text up to then stays.',
  interrupted: 'The service ended while it was written; the text up to then stays.',
  failed: 'Ended by an error; the text up to then stays.',
});

export const MessageRole = enumOf<MRole>('MessageRole', 'Who speaks.', { system: 'Instructions for the model.', user: 'A person.', assistant: 'A model.' });

export const FinishReason = enumOf<Reason>('FinishReason', 'Why an answer ended.', {
  stop: 'The model was done.',
  length: 'It reached the most tokens that it was allowed.',
  stopped: 'Somebody ended it.',
  error: 'An error ended it.',
});

export const ChatStreamEventType = enumOf<ChatStreamEvent['type']>('ChatStreamEventType', 'What an event of an answer tells.', {
  start: 'The answer begins.',
  token: 'The next piece of text.',
  end: 'The answer has ended.',
});

export const ExportFormat = enumOf<Format>('ExportFormat', 'Form of an exported session.', {
  json: 'Everything, for programs; `importChatSession` reads it.',
  markdown: 'The text, for people.',
  jsonl: "OpenAI's lines for fine-tuning: one conversation a line, from the system prompt to a complete answer.",
  html: 'One page that a browser shows offline.',
  text: 'Plain text.',
});

export const ResponseFormatType = enumOf<'text' | 'json_object' | 'json_schema'>('ResponseFormatType', 'Form of an answer.', {
  text: 'Free text.',
  json_object: 'Any JSON object.',
  json_schema: 'JSON that follows a schema.',
});
