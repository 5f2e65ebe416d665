import { defineMachine } from '../../shared/state-machine.ts';
import type { MessageStatus } from './types.ts';

export const chatMessageMachine = defineMachine<MessageStatus>('chat_message', {
  streaming: ['completed', 'stopped', 'interrupted', 'failed'],
  completed: [],
  stopped: [],
  interrupted: [],
  failed: [],
});
