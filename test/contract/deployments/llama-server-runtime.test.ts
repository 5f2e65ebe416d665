import { mkdtempSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from '@jest/globals';
import { LlamaServerFinder } from '../../../src/domains/deployments/runtimes/llama-cpp/llama-server/binary.ts';
import { createLlamaCppRuntime } from '../../../src/domains/deployments/runtimes/llama-cpp/llama-cpp.runtime.ts';
import type { RuntimeHandle } from '../../../src/domains/deployments/runtime.ts';
import { isSameProcess } from '../../../src/platform/process-identity.ts';
import { eventually } from '../../support/eventually.ts';
import { llamaServers } from '../../support/llama-servers.ts';
import { plainHttp } from '../../support/plain-http.ts';
import { buildTinyGguf } from '../../support/tiny-gguf.ts';
import { describeModelRuntime } from '../model-runtime.contract.ts';

const isThere = ({ pid, startTime }: RuntimeHandle): Promise<boolean> => isSameProcess({ pid: pid ?? 0, startTime: startTime ?? '' });
const folder = mkdtempSync(join(tmpdir(), 'llmm-llama-server-'));

afterAll(() => rm(folder, { recursive: true }));

for (const { name, path } of llamaServers(folder)) {
  describeModelRuntime(`llama-cpp with ${name}`, async () => {
    const good = join(folder, 'good.gguf');
    const bad = join(folder, 'bad.gguf');
    const bytes = buildTinyGguf();
    await writeFile(good, bytes);
    await writeFile(bad, bytes.subarray(0, bytes.length / 2));
    const finder = new LlamaServerFinder({ kind: 'path', path }, join(folder, 'engines'));
    const config = { threads: 1, gpuLayers: 0, contextSize: 256, parallel: 1 };
    return {
      runtime: createLlamaCppRuntime({ http: plainHttp, llamaServer: { finder, runDir: join(folder, 'run') } }),
      good: { modelPath: good, config, apiKey: null },
      bad: { modelPath: bad, config, apiKey: null },
      refused: { config: { image: 'x', extraArgs: ['--help'], environment: { LLAMA_ARG_HOST: '0.0.0.0' } }, fields: ['config.image', 'config.extra_args.0', 'config.environment.LLAMA_ARG_HOST'] },
      isThere,
      breakServer: async (handle) => {
        process.kill(handle.pid ?? 0, 'SIGKILL');
        await eventually('it is gone', async () => !(await isThere(handle)));
      },
      close: () => Promise.resolve(),
    };
  });
}
