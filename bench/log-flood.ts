/**
 * `npm run bench:log-flood`: what an engine that writes 100,000 lines a second does to callers of the service, beside the
 * same calls before it began, and whether each line was either read or told as left out. `--short` is the form for CI.
 * Prints one JSON line; exits 1 when lines are missing without a word.
 */
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import autocannon from 'autocannon';
import { createParser } from 'eventsource-parser';
import { startService } from '../test/support/service-process.ts';
import { buildTinyGguf } from '../test/support/tiny-gguf.ts';

const { values } = parseArgs({ options: { short: { type: 'boolean', default: false }, rate: { type: 'string', default: '100000' } } });
const seconds = values.short ? 3 : 10;
const connections = 10;

const folder = await mkdtemp(path.join(tmpdir(), 'llm-manager-flood-'));
const floodFile = path.join(folder, 'flood');
const engine = path.join(folder, 'llama-server');
await writeFile(engine, `#!/bin/sh\nFLOOD_FILE='${floodFile}' FLOOD_LINES_PER_SECOND=${Number(values.rate)} exec '${process.execPath}' --disable-warning=ExperimentalWarning '${fileURLToPath(new URL('flooding-engine.ts', import.meta.url))}' "$@"\n`);
await chmod(engine, 0o755);
const model = path.join(folder, 'tiny.gguf');
await writeFile(model, buildTinyGguf());
const dataDir = path.join(folder, 'data');
await mkdir(dataDir);
const service = await startService({ dataDir, env: { LLM_MANAGER_LLAMA_SERVER: engine, HF_HOME: path.join(folder, 'hf') } });
const headers = { authorization: `Bearer ${service.key}`, 'content-type': 'application/json' };

async function call(route: string, body?: object): Promise<Record<string, Record<string, string>>> {
  const response = await fetch(`${service.url}${route}`, { headers, ...(body && { method: 'POST', body: JSON.stringify(body) }) });
  const answer = (await response.json()) as Record<string, Record<string, string>>;
  if (!response.ok || 'errors' in answer) throw new Error(`${route}: ${JSON.stringify(answer)}`);
  return answer;
}

async function deploy(): Promise<string> {
  const imported = await call('/graphql', { query: 'mutation ($input: ImportModelInput!) { importModel(input: $input) { __typename ... on UserError { message } } }', variables: { input: { path: model, name: 'flood' } } });
  if (!JSON.stringify(imported).includes('ImportModelPayload')) throw new Error(JSON.stringify(imported));
  const { deployment } = await call('/api/deployments/start', { model_id: 'local:flood', name: 'flood', runtime: 'llama-cpp' });
  const id = deployment?.['deployment_id'] ?? '';
  while ((await call(`/api/deployments/${id}/status`))['deployment']?.['status'] !== 'running') await sleep(100);
  return id;
}

async function measure(): Promise<{ perSecond: number; p50Ms: number; p99Ms: number; failed: number }> {
  const { requests, latency, errors, non2xx } = await autocannon({ url: `${service.url}/api/deployments/list`, headers, connections, duration: seconds });
  return { perSecond: Math.round(requests.average), p50Ms: latency.p50, p99Ms: latency.p99, failed: errors + non2xx };
}

type Told = { read: number; leftOut: number; dropped: number; bytesLeftOut: number; written: number | null };

/** Counts what a reader that follows the log gets, until the engine has said how much there was. */
async function follow(id: string, signal: AbortSignal): Promise<Told> {
  const told: Told = { read: 0, leftOut: 0, dropped: 0, bytesLeftOut: 0, written: null };
  const response = await fetch(`${service.url}/api/deployments/${id}/logs?follow=true&tail=0`, { headers, signal });
  const { promise: over, resolve } = Promise.withResolvers<undefined>();
  const parser = createParser({
    onEvent: ({ event, data }) => {
      const value = JSON.parse(data) as { message?: string; dropped_lines?: number };
      if (event === 'dropped') told.dropped += value.dropped_lines ?? 0;
      const message = value.message ?? '';
      if (message.startsWith('flood line ')) told.read += 1;
      told.leftOut += Number(/^(\d+) lines were left out/.exec(message)?.[1] ?? 0);
      told.bytesLeftOut += Number(/^(\d+) bytes of output were left out/.exec(message)?.[1] ?? 0);
      const end = /^flood over after (\d+) lines/.exec(message)?.[1];
      if (end !== undefined) {
        told.written = Number(end);
        resolve(undefined);
      }
    },
  });
  const read = async (): Promise<void> => {
    const decoder = new TextDecoder();
    for await (const chunk of response.body ?? []) parser.feed(decoder.decode(chunk, { stream: true }));
  };
  await Promise.race([read(), over]);
  return told;
}

try {
  const id = await deploy();
  // What is compiled on first use is not measured.
  await measure();
  const quiet = await measure();
  const reading = new AbortController();
  const following = follow(id, reading.signal);
  await writeFile(floodFile, '');
  const flooded = await measure();
  await rm(floodFile);
  const timer = setTimeout(() => reading.abort(new Error('the end of the flood was not read')), 60_000);
  const told = await following.finally(() => clearTimeout(timer));
  reading.abort();
  const missing = (told.written ?? 0) - told.read - told.leftOut - told.dropped;
  const faults = [
    ...(missing > 0 && told.bytesLeftOut === 0 ? [`${missing} lines are missing without a word`] : []),
    ...(flooded.failed > 0 ? [`${flooded.failed} calls failed`] : []),
  ];
  const linesPerSecond = Math.round((told.written ?? 0) / seconds);
  console.log(JSON.stringify({ bench: 'log-flood', linesPerSecond, told, missing, quiet, flooded, requestsOfQuiet: Math.round((flooded.perSecond / quiet.perSecond) * 100) / 100, load: loadavg()[0], faults }));
  if (faults.length > 0) process.exitCode = 1;
} finally {
  await service.end('SIGTERM');
  await rm(folder, { recursive: true, force: true });
}
