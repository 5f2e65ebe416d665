/**
 * One read for all who ask for the same key while another is under way. Each read begins after everybody who gets its
 * answer has asked, so that nobody is told what was so before: at most one runs and one waits for each key.
 */
export function shareReads<T>(read: (key: string) => Promise<T>): (key: string) => Promise<T> {
  const running = new Map<string, Promise<T>>();
  const waiting = new Map<string, Promise<T>>();

  const start = (key: string): Promise<T> => {
    const mine = read(key);
    running.set(key, mine);
    const forget = (): void => {
      if (running.get(key) === mine) running.delete(key);
    };
    mine.then(forget, forget);
    return mine;
  };
  const next = (key: string): Promise<T> => {
    waiting.delete(key);
    return start(key);
  };

  return (key) => {
    const before = running.get(key);
    if (!before) return start(key);
    const joined = waiting.get(key) ?? before.then(() => next(key), () => next(key));
    waiting.set(key, joined);
    return joined;
  };
}
