import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { EmbeddedPostgresUnavailable } from './postgres-binaries.ts';

const searchableByOthers = 0o001;

/** Throws when a folder above `folder` is closed to the unprivileged user that the server runs as. */
export async function assertReachable(folder: string): Promise<void> {
  let parent = dirname(resolve(folder));
  for (;;) {
    const { mode } = await stat(parent);
    if ((mode & searchableByOthers) === 0) {
      throw new EmbeddedPostgresUnavailable(`${parent} is closed to other users (PostgreSQL refuses to run as root)`);
    }
    const next = dirname(parent);
    if (next === parent) return;
    parent = next;
  }
}
