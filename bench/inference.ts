/**
 * `npm run bench:inference`: tokens a second and time to the first token of SmolLM2 (or `--model FILE`), one answer at
 * a time. In a round each subject gives several short answers, one subject right after the other and in turned order:
 * what else the machine does then hits them alike, and each ratio is made within its round. Medians of `--rounds`.
 * With `--llama-server PATH` also against that. Prints one JSON line a subject and a ratio; exits 1 when a ratio is
 * below its bound.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { createParser } from 'eventsource-parser';
import { smallModel } from './inference/small-model.ts';
import { startBehindService, startChild, startLlamaServer, type Load, type Subject } from './inference/subjects.ts';

const { values } = parseArgs({
  options: { model: { type: 'string' }, 'llama-server': { type: 'string' }, rounds: { type: 'string', default: '5' }, answers: { type: 'string', default: '4' }, tokens: { type: 'string', default: '64' }, 'skip-all-cores': { type: 'boolean', default: false } },
});
const rounds = Number(values.rounds);
const answersPerRound = Number(values.answers);
const tokens = Number(values.tokens);

type Answer = { tokensPerSecond: number; firstTokenMs: number };
type Bound = { of: string; to: string; atLeast: number | null };

const bounds: readonly Bound[] = [
  { of: 'service on the child', to: 'child', atLeast: 0.97 },
  { of: 'child', to: 'llama-server', atLeast: 0.9 },
  { of: 'service on llama-server', to: 'llama-server', atLeast: 0.95 },
  // With no core left for JavaScript; told, not bound.
  { of: 'child, all cores', to: 'llama-server, all cores', atLeast: null },
];

type Chunk = { choices?: { delta?: { content?: string | null } }[]; usage?: { completion_tokens: number } | null; error?: { message: string } };

async function answer({ url, model, headers }: Subject, number: number): Promise<Answer> {
  // Another beginning each time, so that none of it is known from the one before.
  const content = `Number ${number * 7919}. Tell me a very long story about a ship, its captain and the sea, with many details about each of them.`;
  const body = { model, stream: true, stream_options: { include_usage: true }, temperature: 0, max_tokens: tokens, messages: [{ role: 'user', content }] };
  const sentAt = performance.now();
  const response = await fetch(`${url}/v1/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) });
  if (response.status !== 200 || !response.body) throw new Error(`status ${response.status}: ${await response.text()}`);
  let firstAt = 0;
  let lastAt = 0;
  let count = 0;
  const parser = createParser({
    onEvent: ({ data }) => {
      if (data === '[DONE]') return;
      const chunk = JSON.parse(data) as Chunk;
      if (chunk.error) throw new Error(chunk.error.message);
      count = chunk.usage?.completion_tokens ?? count;
      if ((chunk.choices?.[0]?.delta?.content ?? '') === '') return;
      lastAt = performance.now();
      firstAt ||= lastAt;
    },
  });
  const decoder = new TextDecoder();
  for await (const bytes of response.body) parser.feed(decoder.decode(bytes, { stream: true }));
  if (count < tokens / 2) throw new Error(`an answer of ${count} tokens tells nothing about speed`);
  return { tokensPerSecond: ((count - 1) * 1000) / (lastAt - firstAt), firstTokenMs: firstAt - sentAt };
}

const rounded = (value: number, digits: number): number => Number(value.toFixed(digits));

function median(list: readonly number[]): number {
  const sorted = list.toSorted((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? (sorted[half] ?? Number.NaN) : ((sorted[half - 1] ?? Number.NaN) + (sorted[half] ?? Number.NaN)) / 2;
}

async function measure(subjects: readonly Subject[]): Promise<ReadonlyMap<string, Answer[]>> {
  const rates = new Map<string, Answer[]>(subjects.map(({ name }) => [name, []]));
  for (const subject of subjects) await answer(subject, 0);
  for (let round = 0; round < rounds; round += 1) {
    const given = new Map<string, Answer[]>(subjects.map(({ name }) => [name, []]));
    for (let number = 1; number <= answersPerRound; number += 1) {
      const turned = number % 2 === 1 ? subjects : subjects.toReversed();
      for (const subject of turned) given.get(subject.name)?.push(await answer(subject, round * answersPerRound + number));
    }
    for (const [name, answers] of given) rates.get(name)?.push(middle(answers));
  }
  return rates;
}

const middle = (answers: readonly Answer[]): Answer => ({ tokensPerSecond: median(answers.map((each) => each.tokensPerSecond)), firstTokenMs: median(answers.map((each) => each.firstTokenMs)) });

function report(rates: ReadonlyMap<string, Answer[]>): boolean {
  for (const [subject, list] of rates) {
    const firstTokenMs = rounded(median(list.map((each) => each.firstTokenMs)), 0);
    console.log(JSON.stringify({ bench: 'inference', subject, rounds: list.length, tokensPerSecond: rounded(median(list.map((each) => each.tokensPerSecond)), 1), firstTokenMs }));
  }
  let isMet = true;
  for (const { of, to, atLeast } of bounds) {
    const [mine, theirs] = [rates.get(of), rates.get(to)];
    if (!mine || !theirs) continue;
    const ratio = median(mine.map((each, index) => each.tokensPerSecond / (theirs[index]?.tokensPerSecond ?? Number.NaN)));
    isMet &&= atLeast === null || ratio >= atLeast;
    console.log(JSON.stringify({ bench: 'inference', of, to, ratio: rounded(ratio, 3), atLeast }));
  }
  return isMet;
}

const cores = availableParallelism();
const usual: Load = { modelPath: values.model ?? smallModel(), threads: Math.max(1, cores - 1), contextSize: 1_024 };
const llamaServer = values['llama-server'] ?? process.env['LLM_MANAGER_LLAMA_SERVER'];
const starts: (() => Promise<Subject>)[] = [() => startChild('child', usual), () => startBehindService('service on the child', 'off', usual)];
if (llamaServer !== undefined) {
  starts.splice(1, 0, () => startLlamaServer('llama-server', llamaServer, usual));
  starts.push(() => startBehindService('service on llama-server', llamaServer, usual));
  if (!values['skip-all-cores']) starts.push(() => startChild('child, all cores', { ...usual, threads: cores }), () => startLlamaServer('llama-server, all cores', llamaServer, { ...usual, threads: cores }));
} else console.error('Without --llama-server PATH only the service against its own engine is measured.');

const subjects: Subject[] = [];
let isMet = false;
try {
  for (const start of starts) subjects.push(await start());
  isMet = report(await measure(subjects));
} finally {
  for (const subject of subjects) await subject.close();
}
process.exit(isMet ? 0 : 1);
