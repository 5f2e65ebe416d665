import { describe, expect, it } from '@jest/globals';
import { startRestBench } from '../../support/rest-bench.ts';
import { fuzzRest } from './fuzz.ts';

const ids = ['01900000-0000-7000-8001-000000000000', '01900000-0000-7000-8002-000000000000', '01900000-0000-7000-8003-000000000000'];

describe('generated requests to every route', () => {
  it('get an answer that the document describes, whatever they hold', async () => {
    const bench = await startRestBench();
    try {
      await fuzzRest({ url: bench.url, key: bench.key, runs: 1200, ids, modelIds: ['huggingface:acme/model-1'] });
      expect(bench.logger.records.filter(({ level }) => level === 'error')).toEqual([]);
    } finally {
      await bench.close();
    }
  }, 60_000);
});
