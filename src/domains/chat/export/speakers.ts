import type { ChatMessage } from '../chat.entity.ts';

export const speakers = { system: 'System', user: 'User', assistant: 'Assistant' } as const;
const notes = { streaming: 'still being written', completed: null, stopped: 'stopped', interrupted: 'interrupted', failed: 'failed' } as const;

/** Where messages stand in a file that lists them in order of time. */
export class Numbering {
  readonly #numbers = new Map<string, number>();
  #previousId: string | null = null;

  /** The message's number, from 1, and what is to be said about it; call it once for each, in order. */
  next(message: ChatMessage): { number: number; facts: string[] } {
    const number = this.#numbers.size + 1;
    this.#numbers.set(message.id, number);
    // Where the conversation branches, each says what it answers.
    const parent = message.parentId === null || message.parentId === this.#previousId ? undefined : this.#numbers.get(message.parentId);
    this.#previousId = message.id;
    const facts = [message.createdAt.toISOString(), parent === undefined ? null : `in reply to ${parent}`, notes[message.status], message.error && message.error.message];
    return { number, facts: facts.filter((fact) => fact !== null) };
  }
}
