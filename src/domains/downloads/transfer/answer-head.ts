import type { RangeRequest } from './byte-source.ts';
import { TransferFault } from './faults.ts';
import { waitOf } from './retry-policy.ts';

/** Status and headers of an answer; a header that came several times counts as none. */
export type AnswerHead = { status: number; header: (name: string) => string | null };

/** What is wrong with an answer to a request for a range, or null when just that range follows. */
export function faultOf(head: AnswerHead, range: RangeRequest): TransferFault | null {
  const { status } = head;
  switch (status) {
    case 206:
      return rangeFault(head, range);
    case 200:
      return wholeFault(head, range);
    case 401:
    case 403:
    case 410:
      return new TransferFault('expired', `HTTP ${status}`);
    case 404:
      return new TransferFault('missing', 'HTTP 404');
    case 416:
      return new TransferFault('changed', 'HTTP 416: the file is shorter than it was');
    case 429:
    case 503:
      return new TransferFault('throttled', `HTTP ${status}`, { waitMs: waitIn(head) });
    default:
      // Redirects are followed where addresses come from, with its rules; here they mean that the address is old.
      return new TransferFault(status >= 300 && status < 400 ? 'expired' : 'bad_answer', `HTTP ${status}`, { waitMs: waitIn(head) });
  }
}

function waitIn({ header }: AnswerHead): number | null {
  return waitOf({ retryAfter: header('retry-after') ?? undefined, rateLimit: header('ratelimit') ?? undefined }, Date.now());
}

function isEncoded({ header }: AnswerHead): boolean {
  const encoding = header('content-encoding');
  return encoding !== null && encoding !== 'identity';
}

function rangeFault(head: AnswerHead, { start, end, totalBytes }: RangeRequest): TransferFault | null {
  if (isEncoded(head)) return new TransferFault('bad_answer', 'the bytes come encoded');
  const given = head.header('content-range') ?? 'none';
  const match = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16}|\*)$/.exec(given);
  const [, first, last, total] = match ?? [];
  if (total !== undefined && total !== '*' && Number(total) !== totalBytes) return new TransferFault('changed', `the file has ${total} bytes now, not ${totalBytes}`);
  if (!match || Number(first) !== start || Number(last) !== end - 1) {
    return new TransferFault('bad_answer', `asked for bytes ${start}-${end - 1}, got ${given.slice(0, 80)}`);
  }
  return null;
}

/** The whole file in place of a range is right only when the range is all of it, or the caller copes. */
function wholeFault(head: AnswerHead, { start, end, totalBytes, acceptWhole }: RangeRequest): TransferFault | null {
  if (isEncoded(head)) return new TransferFault('bad_answer', 'the bytes come encoded');
  const length = head.header('content-length');
  if (length !== null && Number(length) !== totalBytes) return new TransferFault('changed', `the file has ${length} bytes now, not ${totalBytes}`);
  return acceptWhole === true || (start === 0 && end === totalBytes) ? null : new TransferFault('range_ignored', 'the whole file came in place of a range');
}
