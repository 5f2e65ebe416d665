/** What is measured: engines that are driven directly, and the same engines behind a service of their own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startEngine } from '../../src/domains/deployments/runtimes/llama-cpp/engine-process.ts';
import { freePort } from '../../src/platform/free-port.ts';
import { eventually } from '../../test/support/eventually.ts';
import { RestClient } from '../../test/support/rest-client.ts';
import { startService } from '../../test/support/service-process.ts';

export type Subject = { name: string; url: string; model: string; headers: Readonly<Record<string, string>>; close: () => Promise<unknown> };
export type Load = { modelPath: string; threads: number; contextSize: number };

const startLimitMs = 120_000;

/** The child process as the runtime starts it. */
export async function startChild(name: string, { modelPath, threads, contextSize }: Load): Promise<Subject> {
  const folder = await mkdtemp(path.join(tmpdir(), 'llmm-bench-'));
  await using log = await open(path.join(folder, 'engine.log'), 'a');
  const engine = await startEngine({
    engine: { modelPath, modelName: 'smol', port: 0, contextSize, parallel: 1, threads, gpuLayers: null, queueMax: 4, drainMs: 0, orphanGraceMs: 1_000 },
    logFd: log.fd,
  }, AbortSignal.timeout(startLimitMs));
  const close = async (): Promise<void> => {
    await engine.stop(0);
    await rm(folder, { recursive: true });
  };
  return { name, url: `http://127.0.0.1:${engine.port}`, model: 'smol', headers: { authorization: `Bearer ${engine.secret}` }, close };
}

/** As its users start it. */
export async function startLlamaServer(name: string, program: string, { modelPath, threads, contextSize }: Load): Promise<Subject> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const options = ['--model', modelPath, '--host', '127.0.0.1', '--port', String(port), '--ctx-size', String(contextSize), '--parallel', '1', '--threads', String(threads), '--jinja', '--no-webui'];
  const child = spawn(program, options, { stdio: 'ignore' });
  const ended = once(child, 'exit');
  await eventually(`${program} serves`, async () => {
    if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}`);
    return (await fetch(`${url}/health`).catch(() => null))?.status === 200;
  }, startLimitMs);
  const close = async (): Promise<void> => {
    child.kill();
    await ended;
  };
  return { name, url, model: 'smol', headers: {}, close };
}

/** `llamaServer`: a path, or `off` for the embedded engine. The model's file is imported, as by `llm-manager import`. */
export async function startBehindService(name: string, llamaServer: string, { modelPath, threads, contextSize }: Load): Promise<Subject> {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'llmm-bench-'));
  const service = await startService({ dataDir, env: { LLM_MANAGER_LLAMA_SERVER: llamaServer, LLM_MANAGER_LOG_LEVEL: 'warn' } });
  const close = async (): Promise<void> => {
    await service.end();
    await rm(dataDir, { recursive: true });
  };
  try {
    const rest = new RestClient(service.url, service.key);
    const query = 'mutation ($input: ImportModelInput!) { importModel(input: $input) { __typename ... on UserError { message } } }';
    const imported = await rest.call('POST', '/graphql', { query, variables: { input: { path: modelPath, name: 'smol' } } });
    if (!JSON.stringify(imported.body).includes('ImportModelPayload')) throw new Error(`not imported: ${JSON.stringify(imported.body)}`);
    const body = { model_id: 'local:smol', name: 'smol', config: { threads, parallel: 1, context_size: contextSize } };
    const { deployment_id: id } = await rest.expect(202, 'deployment', { method: 'POST', path: '/api/deployments/start', body });
    await eventually('the deployment runs', async () => {
      const { status, error } = await rest.expect(200, 'deployment', { method: 'GET', path: `/api/deployments/${String(id)}/status` });
      if (status === 'failed') throw new Error(JSON.stringify(error));
      return status === 'running';
    }, startLimitMs);
  } catch (error) {
    await close();
    throw error;
  }
  return { name, url: service.url, model: 'smol', headers: { authorization: `Bearer ${service.key}` }, close };
}
