/**
 * Aborts with the first of `sources` that does. Unlike AbortSignal.any it can be let go: the sources here live as
 * long as an engine, and would collect one dependent signal for every answer it gives.
 */
export function linkSignals(sources: readonly AbortSignal[]): { signal: AbortSignal; unlink: () => void } {
  const controller = new AbortController();
  const listeners = sources.map((source) => {
    const onAbort = (): void => controller.abort(source.reason);
    if (source.aborted) onAbort();
    else source.addEventListener('abort', onAbort, { once: true });
    return { source, onAbort };
  });
  const unlink = (): void => {
    for (const { source, onAbort } of listeners) source.removeEventListener('abort', onAbort);
  };
  return { signal: controller.signal, unlink };
}
