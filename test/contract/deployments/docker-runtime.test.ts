import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from '@jest/globals';
import { DockerEngine } from '../../../src/domains/deployments/runtimes/docker/docker-engine.ts';
import { createDockerRuntime } from '../../../src/domains/deployments/runtimes/docker/docker.runtime.ts';
import { createStreamingHttp } from '../../../src/infrastructure/http/streaming-http.ts';
import { dockerdMissing, startDockerDaemon } from '../../support/docker-daemon.ts';
import { plainHttp } from '../../support/plain-http.ts';
import { buildTinyGguf } from '../../support/tiny-gguf.ts';
import { describeModelRuntime } from '../model-runtime.contract.ts';

const missing = dockerdMissing();

if (missing === null) {
  describeModelRuntime('docker', async () => {
    const daemon = await startDockerDaemon();
    const folder = await mkdtemp(join(tmpdir(), 'llmm-docker-models-'));
    const good = join(folder, 'good.gguf');
    const bad = join(folder, 'bad.gguf');
    const bytes = buildTinyGguf();
    await writeFile(good, bytes, { mode: 0o600 });
    await writeFile(bad, bytes.subarray(0, bytes.length / 2));
    const engine = new DockerEngine({ kind: 'socket', path: daemon.socket }, 'contract');
    const config = { image: daemon.image, contextSize: 256, memoryLimitBytes: 512 * 1024 * 1024 };
    return {
      runtime: createDockerRuntime({ engine, http: plainHttp, ollama: { streaming: createStreamingHttp().request, fetch }, images: [daemon.image] }),
      good: { modelPath: good, config, apiKey: null },
      bad: { modelPath: bad, config, apiKey: null },
      refused: {
        config: { image: 'alpine:latest', extraArgs: ['--privileged'], environment: { LD_PRELOAD: '/x.so' }, baseUrl: 'http://x', model: 'x' },
        fields: ['config.image', 'config.extra_args.0', 'config.environment.LD_PRELOAD', 'config.base_url', 'config.model'],
      },
      isThere: async ({ containerId }) => (await engine.inspect(containerId ?? '')) !== null,
      breakServer: ({ containerId }) => engine.remove(containerId ?? ''),
      close: async () => {
        await daemon.close();
        await rm(folder, { recursive: true });
      },
    };
  });
} else {
  describe('the runtime docker', () => {
    it.skip(`passes the suite of runtimes (not tried here: ${missing})`, () => undefined);
  });
}
