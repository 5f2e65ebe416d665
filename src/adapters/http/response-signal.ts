import type { ServerResponse } from 'node:http';
import { StopReason } from '../../shared/abort.ts';

/** Aborts when the response is over, however it ended: what was kept for it may be forgotten then. */
export function responseSignal(res: ServerResponse): AbortSignal {
  const over = new AbortController();
  res.once('close', () => over.abort(new StopReason('caller_gone')));
  return over.signal;
}
