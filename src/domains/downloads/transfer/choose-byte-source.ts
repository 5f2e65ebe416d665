import type { ByteSource } from './byte-source.ts';
import { NotPlain, RawByteSource, type RawByteSourceOptions } from './raw-byte-source.ts';
import { createUndiciByteSource } from './undici-byte-source.ts';

/** Hosts whose answers were not plain; forgotten all at once when there are too many. */
const hostsMax = 1_000;

/**
 * The quicker reader for plain answers, the one that reads any HTTP for all others. A host is asked by both only once.
 */
export function createByteSource(options: RawByteSourceOptions): ByteSource {
  const raw = new RawByteSource(options);
  const general = createUndiciByteSource(options);
  const notPlain = new Set<string>();
  return {
    open: async (request, signal) => {
      const { host } = new URL(request.location.url);
      // The whole file, perhaps in chunks, is what this one copes with.
      if (request.acceptWhole !== true && !notPlain.has(host)) {
        try {
          return await raw.open(request, signal);
        } catch (error) {
          if (!(error instanceof NotPlain)) throw error;
          if (notPlain.size >= hostsMax) notPlain.clear();
          notPlain.add(host);
        }
      }
      return await general.open(request, signal);
    },
    close: async () => {
      await Promise.all([raw.close(), general.close()]);
    },
  };
}
