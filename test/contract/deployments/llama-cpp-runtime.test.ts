import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLlamaCppRuntime } from '../../../src/domains/deployments/runtimes/llama-cpp/llama-cpp.runtime.ts';
import { isSameProcess } from '../../../src/platform/process-identity.ts';
import type { RuntimeHandle } from '../../../src/domains/deployments/runtime.ts';
import { eventually } from '../../support/eventually.ts';
import { plainHttp } from '../../support/plain-http.ts';
import { buildTinyGguf } from '../../support/tiny-gguf.ts';
import { describeModelRuntime } from '../model-runtime.contract.ts';

const isThere = ({ pid, startTime }: RuntimeHandle): Promise<boolean> => isSameProcess({ pid: pid ?? 0, startTime: startTime ?? '' });

describeModelRuntime('llama-cpp', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'llmm-llama-'));
  const good = join(folder, 'good.gguf');
  const bad = join(folder, 'bad.gguf');
  const bytes = buildTinyGguf();
  await writeFile(good, bytes);
  await writeFile(bad, bytes.subarray(0, bytes.length / 2));
  const config = { threads: 1, gpuLayers: 0, contextSize: 256, parallel: 1 };
  return {
    runtime: createLlamaCppRuntime({ http: plainHttp }),
    good: { modelPath: good, config, apiKey: null },
    bad: { modelPath: bad, config, apiKey: null },
    refused: {
      config: { image: 'x', extraArgs: ['--help'], memoryLimitBytes: 1e9, environment: { GGML_BACKEND_PATH: '/tmp/x.so', OMP_NUM_THREADS: '1' }, baseUrl: 'http://x' },
      fields: ['config.image', 'config.extra_args.0', 'config.memory_limit_bytes', 'config.environment.GGML_BACKEND_PATH', 'config.base_url'],
    },
    isThere,
    breakServer: async (handle) => {
      process.kill(handle.pid ?? 0, 'SIGKILL');
      await eventually('it is gone', async () => !(await isThere(handle)));
    },
    close: () => rm(folder, { recursive: true }),
  };
});
