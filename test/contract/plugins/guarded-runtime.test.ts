/** A runtime as the service holds one of a plug-in's: what guards it takes nothing away from the port. */
import { describeModelRuntime } from 'llm-manager/contract/model-runtime';
import { createRemoteRuntime } from '../../../src/domains/deployments/runtimes/remote/remote.runtime.ts';
import { guardRuntime } from '../../../src/plugins/guard-runtime.ts';
import { startOpenAiServer } from '../../support/openai-server.ts';
import { plainHttp } from '../../support/plain-http.ts';
import { silentLogger } from '../../support/silent-logger.ts';

describeModelRuntime('remote, guarded', async () => {
  const server = await startOpenAiServer({ apiKey: 'sk-of-the-other-server' });
  return {
    runtime: guardRuntime(createRemoteRuntime({ http: plainHttp }), silentLogger),
    good: { modelPath: null, config: { baseUrl: server.url }, apiKey: 'sk-of-the-other-server' },
    bad: { modelPath: null, config: { baseUrl: server.url }, apiKey: 'sk-wrong' },
    refused: { config: { baseUrl: 'ftp://somewhere', port: 1234 }, fields: ['config.base_url', 'config.port'] },
    isThere: () => Promise.resolve(false),
    breakServer: () => server.close(),
    mendServer: () => server.reopen(),
    close: () => server.close(),
  };
});
