import type { FileLocation } from '../../catalog/source.ts';

export type RangeRequest = {
  location: FileLocation;
  /** First byte. */
  start: number;
  /** First byte that is not wanted any more. */
  end: number;
  /** Of the whole file: an answer about a file of another size is refused. */
  totalBytes: number;
  /** Take the whole file too, from its start, and pass over what lies before the range. */
  acceptWhole?: boolean;
};

export type RangeAnswer = {
  /** The storage's own mark for these bytes; comparable between answers of one host only. */
  etag: string | null;
  /**
   * The bytes of the range, in order; ends after the last one, or throws a TransferFault when fewer come. A piece is
   * valid until the next is asked for, and empty while bytes before the range are passed over. Leaving the loop early closes the connection.
   */
  pieces: AsyncIterable<Uint8Array>;
};

/**
 * Where ranges of bytes come from. `open` resolves when the head of the answer says that exactly the wanted range
 * follows, and rejects with a TransferFault otherwise, or with the signal's reason. No redirects, no retries, no time
 * limit of its own. Any number of ranges may be open at once.
 */
export type ByteSource = {
  open(request: RangeRequest, signal: AbortSignal): Promise<RangeAnswer>;
  close(): Promise<void>;
};
