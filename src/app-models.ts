/** The part of the composition root that knows every source and every runtime of models. */
import { createHash } from 'node:crypto';
import path from 'node:path';
import type { ModelSource } from './domains/catalog/source.ts';
import { createHuggingFaceSource } from './domains/catalog/sources/huggingface/huggingface.source.ts';
import { createOllamaSource } from './domains/catalog/sources/ollama/ollama.source.ts';
import type { ModelRuntime } from './domains/deployments/runtime.ts';
import { DockerEngine } from './domains/deployments/runtimes/docker/docker-engine.ts';
import { createDockerRuntime } from './domains/deployments/runtimes/docker/docker.runtime.ts';
import { createLlamaCppRuntime } from './domains/deployments/runtimes/llama-cpp/llama-cpp.runtime.ts';
import { LlamaServerFinder } from './domains/deployments/runtimes/llama-cpp/llama-server/binary.ts';
import { createOllamaRuntime } from './domains/deployments/runtimes/ollama/ollama.runtime.ts';
import { createRemoteRuntime } from './domains/deployments/runtimes/remote/remote.runtime.ts';
import type { Config } from './infrastructure/config/config.ts';
import type { DataFolder } from './infrastructure/data-folder/data-folder.ts';
import type { StreamingHttpClient } from './infrastructure/http/streaming-http.ts';
import { byId } from './plugins/built-in-ids.ts';
import type { OpenedPlugins } from './plugins/open-plugins.ts';
import type { Cache } from './shared/cache.ts';
import type { Clock } from './shared/clock.ts';
import type { Logger } from './shared/logger.ts';
import type { OutgoingHttp } from './shared/outgoing-http.ts';

type RuntimeParts = {
  folder: DataFolder;
  http: OutgoingHttp;
  inference: StreamingHttpClient['request'];
  inferenceFetch: StreamingHttpClient['fetch'];
  plugins: Pick<OpenedPlugins, 'runtimes'>;
};

/** The first that needs a model is the default. */
export function createRuntimes(config: Config, { folder, http, inference, inferenceFetch, plugins }: RuntimeParts, gpuMemoryOf: (pid: number) => Promise<number | null>): ReadonlyMap<string, ModelRuntime> {
  const list = [
    createLlamaCppRuntime({ http, llamaServer: createLlamaServer(config, folder), gpuMemoryOf }),
    createOllamaRuntime({ host: config.sources.ollama.host, http: inference, fetch: inferenceFetch }),
    createDockerRuntime({ engine: new DockerEngine(config.docker.host, serviceIdOf(folder)), http, images: config.docker.images, ollama: { streaming: inference, fetch: inferenceFetch } }),
    createRemoteRuntime({ http }),
    ...plugins.runtimes,
  ];
  return byId(list);
}

function createLlamaServer({ deployments }: Config, folder: DataFolder): { finder: LlamaServerFinder; runDir: string } {
  return { finder: new LlamaServerFinder(deployments.llamaServer, path.join(folder.path, 'engines')), runDir: path.join(folder.path, 'run') };
}

/** Tells the containers of this data folder from those of another service on the same Docker Engine. */
const serviceIdOf = (folder: DataFolder): string => createHash('sha256').update(folder.path).digest('hex').slice(0, 16);

type SourceParts = { http: OutgoingHttp; cache: Cache; clock: Clock; logger: Logger; plugins: Pick<OpenedPlugins, 'sources'> };

export function createSources({ sources }: Config, { http, cache, clock, logger, plugins }: SourceParts): ReadonlyMap<string, ModelSource> {
  const common = { http, clock, logger };
  const { huggingface, ollama } = sources;
  const list = [
    createHuggingFaceSource({ ...common, endpoint: huggingface.endpoint, token: huggingface.token?.reveal() }),
    createOllamaSource({ ...common, cache, libraryEndpoint: ollama.library, registryEndpoint: ollama.registry }),
    ...plugins.sources,
  ];
  return byId(list);
}
