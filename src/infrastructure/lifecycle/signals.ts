/** What a shell expects of a program that a signal ended: 128 + SIGINT. */
export const interruptedExitCode = 130;

/**
 * The first SIGINT or SIGTERM calls `first`, the next one `second`. Returns a function that lets go of the signals.
 * npm passes a terminal's Ctrl-C on although the terminal has sent it to the whole group already, so the same signal
 * within `echoMs` is the same keystroke.
 */
export function onStopSignals(first: (signal: NodeJS.Signals) => void, second: () => void, echoMs = 100): () => void {
  const signals = ['SIGINT', 'SIGTERM'] as const;
  let firstAt: number | null = null;
  const listener = (signal: NodeJS.Signals): void => {
    if (firstAt === null) {
      firstAt = performance.now();
      first(signal);
    } else if (performance.now() - firstAt > echoMs) {
      second();
    }
  };
  for (const signal of signals) process.on(signal, listener);
  return () => {
    for (const signal of signals) process.off(signal, listener);
  };
}
