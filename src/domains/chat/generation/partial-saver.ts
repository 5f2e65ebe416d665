import { setImmediate as nextTurn } from 'node:timers/promises';
import type { GrownText, MessageRepository } from '../message.repository.ts';

type Waiting = { grown: GrownText; resolve: (isSaved: boolean) => void; reject: (error: unknown) => void };

/** A statement's values are written to the connection in one go, and tokens wait meanwhile. */
const rowsAtOnce = 16;
const charsAtOnce = 256 * 1024;
/** Moments of the time between two saves, so that what is saved in one of them is saved together, and a part of all. */
const moments = 7;
/** Share of that time that passes at least, so that the first save is neither at once nor late. */
const soonest = 0.4;

/**
 * Stores what answers have grown by, of all answers of this process: some with each statement, one statement after
 * another. By themselves fifty answers that began together would save together as well, and hold up their readers.
 */
export class PartialSaver {
  readonly #messages: Pick<MessageRepository, 'appendPartials'>;
  readonly #waiting: Waiting[] = [];
  #isRunning = false;
  #answers = 0;

  constructor(messages: Pick<MessageRepository, 'appendPartials'>) {
    this.#messages = messages;
  }

  /** For one more answer that saves each `everyMs`: how long it is to wait from `nowMs` for its next moment. */
  moment(everyMs: number): (nowMs: number) => number {
    const ownMs = ((this.#answers++ % moments) * everyMs) / moments;
    return (nowMs) => {
      const untilMs = everyMs - ((nowMs + everyMs - ownMs) % everyMs);
      // A timer that came a little early, or an answer that has only begun, as many may have in the same moment.
      return Math.ceil(untilMs < soonest * everyMs ? untilMs + everyMs : untilMs);
    };
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
    await nextTurn();
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
