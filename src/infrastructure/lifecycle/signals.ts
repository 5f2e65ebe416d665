/** What a shell expects of a program that a signal ended: 128 + SIGINT. */
export const interruptedExitCode = 130;

/** SIGHUP: the terminal was closed. Node ignores `nohup`, so without this it would end us in the middle of everything. */
const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export type StopHandlers = { first: (signal: NodeJS.Signals) => void; second: () => void };

/**
 * Listens for the signals that end the process from its construction on; those that come before there are handlers
 * wait for them. The first calls `first`, the next one `second`. npm passes a terminal's Ctrl-C on although the
 * terminal has sent it to the whole group already, so a signal within `echoMs` of the first is the same keystroke.
 */
export class StopSignals {
  readonly #echoMs: number;
  readonly #listener = (signal: NodeJS.Signals): void => this.#receive(signal);
  #handlers: StopHandlers | null = null;
  #first: { signal: NodeJS.Signals; at: number } | null = null;
  #hasSecond = false;

  constructor(echoMs = 100) {
    this.#echoMs = echoMs;
    for (const name of names) process.on(name, this.#listener);
  }

  handle(handlers: StopHandlers): void {
    this.#handlers = handlers;
    if (this.#first) handlers.first(this.#first.signal);
    if (this.#hasSecond) handlers.second();
  }

  /** Lets go of the signals. */
  close(): void {
    for (const name of names) process.off(name, this.#listener);
  }

  #receive(signal: NodeJS.Signals): void {
    if (this.#first === null) {
      this.#first = { signal, at: performance.now() };
      this.#handlers?.first(signal);
    } else if (!this.#hasSecond && performance.now() - this.#first.at > this.#echoMs) {
      this.#hasSecond = true;
      this.#handlers?.second();
    }
  }
}
