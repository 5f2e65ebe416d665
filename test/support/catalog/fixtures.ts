import { createHuggingFaceSource } from '../../../src/domains/catalog/sources/huggingface/huggingface.source.ts';
import type { HuggingFaceOptions } from '../../../src/domains/catalog/sources/huggingface/huggingface.source.ts';
import { createOllamaSource } from '../../../src/domains/catalog/sources/ollama/ollama.source.ts';
import type { ModelSource } from '../../../src/domains/catalog/source.ts';
import { createCache } from '../../../src/infrastructure/cache/bento-cache.ts';
import { createOutgoingHttp } from '../../../src/infrastructure/http/outgoing-http.ts';
import type { OutgoingHttpClient } from '../../../src/infrastructure/http/outgoing-http.ts';
import { systemClock } from '../../../src/infrastructure/system-clock.ts';
import { createHub } from '../hub/hub.ts';
import type { Hub, HubOptions } from '../hub/hub.ts';
import type { RepoInput } from '../hub/repos.ts';
import { createOllamaLibrary } from '../ollama/library.ts';
import type { OllamaLibrary, OllamaLibraryOptions } from '../ollama/library.ts';
import type { LibraryModel } from '../ollama/library-pages.ts';
import { createOllamaRegistry } from '../ollama/registry.ts';
import type { OllamaRegistry, RegistryModelInput } from '../ollama/registry.ts';
import type { OutgoingHttp } from '../../../src/shared/outgoing-http.ts';
import { silentLogger } from '../silent-logger.ts';
import { buildTinyGguf } from '../tiny-gguf.ts';

export const tinyGguf = buildTinyGguf();

export const readme = `---
license: apache-2.0
---
# Tiny

![badge](https://example.com/badge.svg)

A very small model that says one sentence, made so that tests need no download. It is **not** clever.

## Use
\`\`\`sh
llm-manager run tiny
\`\`\`
`;

/** `count` repositories with figures that differ, so that every order is another one. */
export function hubRepos(count = 5): RepoInput[] {
  return Array.from({ length: count }, (_, index) => ({
    id: `org/model-${String.fromCharCode(97 + index)}-GGUF`,
    files: [{ path: `model-${index}.Q4_K_M.gguf`, content: `weights ${index}` }],
    pipelineTag: 'text-generation',
    downloads: (index * 7) % count,
    likes: (index * 3) % count,
    trendingScore: (index * 2) % count,
    createdAt: new Date(Date.UTC(2026, 0, 1 + ((index * 2) % count))).toISOString(),
    lastModified: new Date(Date.UTC(2026, 1, 1 + ((index * 3) % count))).toISOString(),
  }));
}

export const tinyRepo: RepoInput = {
  id: 'acme/tiny-GGUF',
  files: [
    { path: 'tiny.Q4_K_M.gguf', content: tinyGguf },
    { path: 'tiny.Q8_0.gguf', content: Buffer.concat([tinyGguf, Buffer.alloc(1000)]) },
    { path: 'README.md', content: readme },
    { path: 'config.json', content: JSON.stringify({ model_type: 'llama', max_position_embeddings: 2048 }) },
  ],
  pipelineTag: 'text-generation',
  cardData: { license: 'apache-2.0' },
  downloads: 100,
  likes: 100,
  trendingScore: 100,
  createdAt: '2026-05-01T00:00:00.000Z',
  lastModified: '2026-06-01T00:00:00.000Z',
};

export function libraryModels(count = 5): LibraryModel[] {
  return Array.from({ length: count }, (_, index) => ({
    name: `llama-${String.fromCharCode(97 + ((index * 3) % count))}`,
    description: `Model number ${index} & its "friends", for general use.`,
    capabilities: index === 1 ? ['vision'] : index === 2 ? ['embedding'] : ['tools'],
    sizes: ['8b'],
    pulls: `${((index * 7) % count) + 1}.${index}K`,
    updatedAt: new Date(Date.UTC(2026, 2, 1 + ((index * 2) % count))).toISOString(),
    tags: [{ tag: 'latest', size: '4.7GB', digest: 'a'.repeat(64) }],
  }));
}

export const tinyLibraryModel: LibraryModel = {
  name: 'tiny',
  description: 'Says one sentence.',
  capabilities: ['tools'],
  sizes: ['135m'],
  pulls: '107.3M',
  updatedAt: '2026-07-01T00:00:00.000Z',
  tags: [
    { tag: 'latest', size: '2MB', digest: 'b'.repeat(64) },
    { tag: '135m-q8_0', size: '4MB', digest: 'c'.repeat(64) },
  ],
};

export const tinyRegistryModel: RegistryModelInput = {
  name: 'tiny',
  layers: [
    { kind: 'model', content: tinyGguf },
    { kind: 'template', content: '{{ .Prompt }}' },
    { kind: 'params', content: '{"stop":["<|im_end|>"]}' },
    { kind: 'license', content: '\n   Apache License\n Version 2.0\n' },
  ],
};

export function openHttp(): OutgoingHttpClient {
  return createOutgoingHttp({ userAgent: 'llm-manager-test' });
}

export type OpenHub = { hub: Hub; source: ModelSource; http: OutgoingHttp; close: () => Promise<void> };

export async function openHub(options: HubOptions = {}, sourceOptions: Partial<HuggingFaceOptions> = {}): Promise<OpenHub> {
  const hub = await createHub({ repos: [...hubRepos(), tinyRepo], ...options });
  const client = openHttp();
  const http = client.request;
  const source = createHuggingFaceSource({ http, clock: systemClock, logger: silentLogger, endpoint: hub.endpoint, ...sourceOptions });
  return {
    hub, source, http,
    close: async () => {
      await client.close();
      await hub.close();
    },
  };
}

export type OpenOllama = { library: OllamaLibrary; registry: OllamaRegistry; source: ModelSource; http: OutgoingHttp; close: () => Promise<void> };

export async function openOllama(options: OllamaLibraryOptions = {}): Promise<OpenOllama> {
  const library = await createOllamaLibrary({ models: [...libraryModels(), tinyLibraryModel], ...options });
  const registry = await createOllamaRegistry({ models: [tinyRegistryModel] });
  const cache = createCache(systemClock);
  const client = openHttp();
  const http = client.request;
  const source = createOllamaSource({
    http,
    clock: systemClock,
    logger: silentLogger,
    cache,
    libraryEndpoint: library.endpoint,
    registryEndpoint: registry.endpoint,
  });
  return {
    library, registry, source, http,
    close: async () => {
      await client.close();
      await Promise.all([library.close(), registry.close(), cache.close()]);
    },
  };
}
