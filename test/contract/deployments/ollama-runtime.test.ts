import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createOllamaRuntime } from '../../../src/domains/deployments/runtimes/ollama/ollama.runtime.ts';
import { createStreamingHttp } from '../../../src/infrastructure/http/streaming-http.ts';
import { createOllamaDaemon } from '../../support/ollama/daemon.ts';
import { buildTinyGguf } from '../../support/tiny-gguf.ts';
import { describeModelRuntime } from '../model-runtime.contract.ts';

describeModelRuntime('ollama', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'llmm-ollama-'));
  const good = join(folder, 'good.gguf');
  const bad = join(folder, 'bad.gguf');
  const bytes = buildTinyGguf();
  await writeFile(good, bytes);
  await writeFile(bad, bytes.subarray(0, bytes.length / 2));
  let daemon = await createOllamaDaemon();
  const http = createStreamingHttp();
  const config = { contextSize: 256, threads: 1, gpuLayers: 0 };
  return {
    runtime: createOllamaRuntime({ host: daemon.endpoint, http: http.request, fetch: http.fetch }),
    good: { modelPath: good, config, apiKey: null },
    bad: { modelPath: bad, config, apiKey: null },
    refused: {
      config: { port: 1234, image: 'x', extraArgs: ['--help'], environment: { OLLAMA_HOST: '0.0.0.0' }, gpuDevices: ['0'], model: 'x' },
      fields: ['config.port', 'config.image', 'config.extra_args', 'config.environment', 'config.gpu_devices', 'config.model'],
    },
    isThere: ({ containerId }) => Promise.resolve(daemon.state.runners.has(containerId ?? '')),
    breakServer: () => daemon.close(),
    mendServer: async () => {
      daemon = await createOllamaDaemon({ port: Number(new URL(daemon.endpoint).port) });
    },
    close: async () => {
      await daemon.close();
      await http.close();
      await rm(folder, { recursive: true });
    },
  };
});
