import type { GrownText, MessageRepository } from '../message.repository.ts';

type Waiting = { grown: GrownText; resolve: (isSaved: boolean) => void; reject: (error: unknown) => void };

/** A statement's values are written to the connection in one go, and tokens wait meanwhile. */
const rowsAtOnce = 16;
const charsAtOnce = 256 * 1024;

/**
 * Stores what answers have grown by, of all answers of this process: some with each statement, one statement after
 * another. By themselves fifty answers that began together would save together as well, and hold up their readers.
 */
export class PartialSaver {
  readonly #messages: Pick<MessageRepository, 'appendPartials'>;
  readonly #waiting: Waiting[] = [];
  #isRunning = false;

  constructor(messages: Pick<MessageRepository, 'appendPartials'>) {
    this.#messages = messages;
  }

  /** False when the stored row is not the one that has grown: it has ended, has another text, or is held by somebody. */
  async save(grown: GrownText): Promise<boolean> {
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    this.#waiting.push({ grown, resolve, reject });
    if (!this.#isRunning) void this.#run();
    return await promise;
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    // What is asked for in the same moment goes together.
    await Promise.resolve();
    for (let batch = this.#take(); batch.length > 0; batch = this.#take()) {
      try {
        const saved = await this.#messages.appendPartials(batch.map(({ grown }) => grown));
        for (const { grown, resolve } of batch) resolve(saved.has(grown.id));
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#isRunning = false;
  }

  #take(): Waiting[] {
    let chars = 0;
    let count = 0;
    for (const { grown } of this.#waiting) {
      chars += grown.content.length;
      if (count > 0 && (count === rowsAtOnce || chars > charsAtOnce)) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }
}
