import { expect, it } from '@jest/globals';
import { readLines } from '../../../src/domains/deployments/runtimes/docker/output-lines.ts';

async function linesOf(chunks: Iterable<string>): Promise<string[]> {
  const lines: string[] = [];
  const output = (async function* () {
    for (const chunk of chunks) yield await Promise.resolve(Buffer.from(chunk));
  })();
  for await (const line of readLines(output)) lines.push(line);
  return lines;
}

it('puts lines together again, however they are cut', async () => {
  expect(await linesOf(['on', 'e\ntwo\r', '\n\nfo', 'ur'])).toEqual(['one', 'two', '', 'four']);
});

it('keeps no more of a line that never ends than the log does', async () => {
  function* endless(): Generator<string> {
    for (let index = 0; index < 2_000; index += 1) yield 'x'.repeat(10_000);
    yield '\nnext\n';
  }
  const [long, next] = await linesOf(endless());
  expect([long?.length, next]).toEqual([8_448, 'next']);
});
