import { join } from 'node:path';
import { createCatalog } from '../../../src/domains/catalog/catalog.service.ts';
import type { ModelSource } from '../../../src/domains/catalog/source.ts';
import { createHuggingFaceSource } from '../../../src/domains/catalog/sources/huggingface/huggingface.source.ts';
import { createDownloads, type DownloadsConfig, type DownloadsDeps, type DownloadsRoom } from '../../../src/domains/downloads/create-downloads.ts';
import type { DownloadStatus } from '../../../src/domains/downloads/download.machine.ts';
import type { DownloadTaskView, StartDownload } from '../../../src/domains/downloads/types.ts';
import { createOllamaStore } from '../../../src/domains/downloads/transfer/ollama-pull.ts';
import { createCache } from '../../../src/infrastructure/cache/bento-cache.ts';
import { createOutgoingHttp } from '../../../src/infrastructure/http/outgoing-http.ts';
import { PgBossQueue } from '../../../src/infrastructure/jobs/pg-boss-queue.ts';
import { systemClock } from '../../../src/infrastructure/system-clock.ts';
import type { EventBus } from '../../../src/shared/event-bus.ts';
import type { Logger } from '../../../src/shared/logger.ts';
import type { Principal } from '../../../src/shared/principal.ts';
import type { Orm } from '../../../src/infrastructure/database/orm.ts';
import { eventually } from '../eventually.ts';
import { type Content, seededContent } from '../hub/content.ts';
import { openTestLive } from '../live.ts';
import { Society } from '../instances.ts';
import { silentLogger } from '../silent-logger.ts';
import { buildTinyGguf } from '../tiny-gguf.ts';
import { MiB, quickSettings } from './engine.ts';

const header = buildTinyGguf();

/** A sound GGUF of any size from `MiB` on: a tiny model with noise behind its tensors. */
export function ggufContent(seed: string, size: number): Content {
  const noise = seededContent(seed, size);
  return {
    size,
    isFixed: true,
    slice: (start, end) => {
      const bytes = noise.slice(start, end);
      if (start < header.length) header.copy(bytes, 0, start, Math.min(header.length, end));
      return bytes;
    },
  };
}

export const operator: Principal = { keyId: '0192f000-0000-7000-8000-000000000001', owner: 'tester', role: 'OPERATOR' };
export const admin: Principal = { ...operator, role: 'ADMIN' };

export type TestRoom = DownloadsRoom & {
  readonly events: EventBus;
  readonly source: ModelSource;
  readonly config: DownloadsConfig;
  startDownload(input?: Partial<StartDownload>, principal?: Principal): Promise<{ task: DownloadTaskView; created: boolean }>;
  /** Resolves with the task as soon as it is in one of these states. */
  reaches(taskId: string, ...statuses: DownloadStatus[]): Promise<DownloadTaskView>;
  close(): Promise<void>;
};

export type RoomOptions = {
  orm: Orm;
  databaseUrl: string;
  folder: string;
  endpoint: string;
  token?: string;
  logger?: Logger;
  config?: Partial<DownloadsConfig>;
  deps?: Partial<DownloadsDeps>;
  /** In place of the Hub. */
  source?: ModelSource;
};

export const never = new AbortController().signal;

/** The download room as the service has it, on a Hub double: real database, real queue, real sockets and files. */
export async function openRoom(options: RoomOptions): Promise<TestRoom> {
  const { orm, databaseUrl, folder, endpoint, token, logger = silentLogger } = options;
  const http = createOutgoingHttp({ userAgent: 'llm-manager/test' });
  const source = options.source ?? createHuggingFaceSource({ http: http.request, clock: systemClock, logger, endpoint, token });
  const sources = new Map([[source.id, source]]);
  const cache = createCache(systemClock);
  const machineMemory = () => ({ availableBytes: 64 * 1024 ** 3, gpuFreeBytes: null });
  const catalog = createCatalog({ sources, cache, clock: systemClock, logger, machineMemory });
  const live = await openTestLive();
  const { events } = live;
  const jobs = new PgBossQueue({ database: { type: 'url', url: databaseUrl }, logger, soleWorker: true });
  const config: DownloadsConfig = {
    parallel: 3,
    connectionsPerHost: 4,
    maxBytesPerSecond: null,
    hfCacheDir: join(folder, 'hf'),
    modelsDir: join(folder, 'models'),
    dataDir: join(folder, 'data'),
    adoptAtStart: false,
    reserveBytes: 0,
    transfer: { ...quickSettings, partBytes: MiB, connections: 4 },
    ...options.config,
  };
  // A port that nobody listens on.
  const ollama = createOllamaStore({ host: 'http://127.0.0.1:9', fetch, registryEndpoint: 'https://registry.ollama.ai', hubEndpoint: endpoint });
  const room = createDownloads({ em: orm.em, ollama, catalog, sources, jobs, events, clock: systemClock, logger, config, isModelInUse: () => Promise.resolve(false), instances: new Society().join(), soleWorker: true, ...options.deps });
  await jobs.start();
  await room.start();
  return {
    ...room,
    events,
    source,
    config,
    startDownload: (input = {}, principal = operator) =>
      room.downloads.start({ modelId: 'acme/tiny-GGUF', target: 'local', priority: 0, override: [], ...input }, principal, AbortSignal.timeout(10_000)),
    reaches: async (taskId, ...statuses) => {
      let last: DownloadTaskView | null = null;
      try {
        return await eventually(
          `download is ${statuses.join(' or ')}`,
          async () => {
            last = await room.downloads.find(taskId);
            return last && statuses.includes(last.status) ? last : null;
          },
          20_000,
        );
      } catch (error) {
        throw new Error(`${String(error)}; it is ${JSON.stringify(last)}`, { cause: error });
      }
    },
    close: async () => {
      await room.stop(AbortSignal.timeout(5_000));
      await jobs.stop(AbortSignal.timeout(5_000));
      await live.close();
      await cache.close();
      await http.close();
    },
  };
}
