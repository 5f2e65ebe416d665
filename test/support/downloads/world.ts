import { existsSync, readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll } from '@jest/globals';
import { downloadMachine, isUnfinished } from '../../../src/domains/downloads/download.machine.ts';
import { createTemporaryFolder, type TemporaryFolder } from '../data-dir.ts';
import { createTestDatabase, type TestDatabase } from '../database.ts';
import { createHub, type Hub, type HubRepo } from '../hub/hub.ts';
import { MiB } from './engine.ts';
import { ggufContent, never, openRoom, type RoomOptions, type TestRoom } from './room.ts';

export const q4 = ggufContent('q4', 6 * MiB);
export const config = JSON.stringify({ model_type: 'llama', max_position_embeddings: 2048 });
export const q4Request = { variant: 'Q4_K_M' };
/** What the Q4_K_M variant of the test's model takes, with its small files. */
export const q4Bytes = 6 * MiB + '# Tiny'.length + config.length;
/** Requests to the storage behind the Hub. */
export const blob = /xet-bridge-us/;

export type World = {
  readonly database: TestDatabase;
  readonly hub: Hub;
  readonly repo: HubRepo;
  readonly room: TestRoom;
  /** The model's folder in the shared cache. */
  readonly home: string;
  /** Another service on the same database and folders; the one before has ended. */
  reopen(options?: Partial<RoomOptions>): Promise<void>;
  closeRoom(): Promise<void>;
  /** What each connection to the storage gets. */
  slowDown(bytesPerSecond?: number): void;
  /** Resolves when the storage has sent that much. */
  sent(bytes: number): Promise<void>;
  /** Bytes of the weights that the storage has sent, since its log was cleared. */
  sentBytes(): number;
  /** What the storage was asked for. */
  requestedBytes(): number;
  partialFiles(): string[];
};

export const emptyTables = 'truncate download_tasks, download_files, installed_models, file_part_digests, download_speed_limits, storage_jobs, state_events, idempotency_records';

/** One Hub, database and download room for a test file; each test finds them empty and idle. */
export function useWorld(): World {
  let database: TestDatabase;
  let hub: Hub;
  let repo: HubRepo;
  let folder: TemporaryFolder;
  let room: TestRoom;
  let isOpen = false;
  let isUsual = true;
  const open = async (options: Partial<RoomOptions> = {}): Promise<void> => {
    room = await openRoom({ orm: database.orm, databaseUrl: database.url, folder: folder.path, endpoint: hub.endpoint, ...options });
    isOpen = true;
    isUsual = Object.keys(options).length === 0;
  };
  const closeRoom = async (): Promise<void> => {
    if (isOpen) await room.close();
    isOpen = false;
  };
  beforeAll(async () => {
    [database, hub, folder] = await Promise.all([createTestDatabase(), createHub(), createTemporaryFolder('downloads')]);
    repo = hub.addRepo({
      id: 'acme/tiny-GGUF',
      files: [
        { path: 'tiny.Q4_K_M.gguf', content: q4 },
        { path: 'tiny.Q8_0.gguf', content: ggufContent('q8', 9 * MiB) },
        { path: 'README.md', content: '# Tiny' },
        { path: 'config.json', content: config },
        { path: 'pickle.bin', content: 'weights' },
      ],
    });
    await open();
  });
  afterEach(async () => {
    if (!isOpen) await open();
    const { items } = await room.downloads.list({}, { limit: 100 });
    const unfinished = downloadMachine.states.filter(isUnfinished);
    for (const { id, status } of items) if (unfinished.includes(status)) await room.downloads.cancel(id, never);
    hub.faults.clear();
    hub.requests.clear();
    await database.em().getConnection().execute(emptyTables);
    await rm(room.config.hfCacheDir, { recursive: true, force: true });
    if (!isUsual) {
      await closeRoom();
      await open();
    }
  });
  afterAll(async () => {
    await closeRoom();
    await hub.close();
    await database.drop();
    await folder.remove();
  });
  const sentBytes = (): number => hub.requests.bytesSent(blob);
  return {
    get database() {
      return database;
    },
    get hub() {
      return hub;
    },
    get repo() {
      return repo;
    },
    get room() {
      return room;
    },
    get home() {
      return join(room.config.hfCacheDir, 'models--acme--tiny-GGUF');
    },
    closeRoom,
    reopen: async (options = {}) => {
      await closeRoom();
      await open(options);
    },
    slowDown: (bytesPerSecond = MiB) => void hub.faults.inject({ fault: { kind: 'rate', bytesPerSecond }, server: 'cdn' }),
    sentBytes,
    sent: (bytes) => hub.requests.waitFor(() => sentBytes() > bytes),
    requestedBytes: () =>
      hub.requests.matching(blob, 'GET').reduce((sum, { range }) => {
        const [, first = '0', last = '-1'] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? [];
        return sum + Number(last) - Number(first) + 1;
      }, 0),
    partialFiles: () => {
      const root = room.config.hfCacheDir;
      return existsSync(root) ? readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => name.includes('.part')) : [];
    },
  };
}
