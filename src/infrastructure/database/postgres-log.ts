import { closeSync, openSync } from 'node:fs';
import { copyFile, mkdir, open, stat, truncate } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Logger } from '../../shared/logger.ts';

const sizeMax = 8 * 1024 * 1024;
const checkEveryMs = 60_000;
const tailMax = 16 * 1024;

/** The server's own log: a file, not a pipe, so that the server goes on writing when this process is gone. */
export type PostgresLog = {
  readonly descriptor: number;
  size(): Promise<number>;
  /** What was written from `offset` on, bounded. */
  readFrom(offset: number): Promise<string>;
  close(): void;
};

export async function createPostgresLog(path: string, logger: Logger): Promise<PostgresLog> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  // Appending makes every write go to the file's end, also after the file was cut.
  const descriptor = openSync(path, 'a', 0o600);
  await keepSmall(path);
  const timer = setInterval(() => {
    keepSmall(path).catch((error: unknown) => logger.warn({ path, error }, "the database server's log could not be cut"));
  }, checkEveryMs).unref();
  let isOpen = true;
  const size = async (): Promise<number> => (await stat(path)).size;
  return {
    descriptor,
    size,
    readFrom: async (offset) => await readTail(path, Math.max(offset, (await size()) - tailMax)),
    close: () => {
      if (!isOpen) return;
      isOpen = false;
      clearInterval(timer);
      closeSync(descriptor);
    },
  };
}

/** The server holds the file open, so it is copied and cut rather than renamed. */
async function keepSmall(path: string): Promise<void> {
  const { size } = await stat(path);
  if (size <= sizeMax) return;
  await copyFile(path, `${path}.1`);
  await truncate(path, 0);
}

async function readTail(path: string, offset: number): Promise<string> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(tailMax), 0, tailMax, offset);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}
