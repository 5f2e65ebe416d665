import { createRemoteRuntime } from '../../../src/domains/deployments/runtimes/remote/remote.runtime.ts';
import { startOpenAiServer } from '../../support/openai-server.ts';
import { plainHttp } from '../../support/plain-http.ts';
import { describeModelRuntime } from '../model-runtime.contract.ts';

describeModelRuntime('remote', async () => {
  const server = await startOpenAiServer({ apiKey: 'sk-of-the-other-server' });
  return {
    runtime: createRemoteRuntime({ http: plainHttp }),
    good: { modelPath: null, config: { baseUrl: server.url }, apiKey: 'sk-of-the-other-server' },
    bad: { modelPath: null, config: { baseUrl: server.url }, apiKey: 'sk-wrong' },
    refused: { config: { baseUrl: 'ftp://somewhere', port: 1234, gpuLayers: 1, image: 'x' }, fields: ['config.base_url', 'config.port', 'config.gpu_layers', 'config.image'] },
    // Nothing of it is on this machine.
    isThere: () => Promise.resolve(false),
    breakServer: () => server.close(),
    mendServer: () => server.reopen(),
    close: () => server.close(),
  };
});
