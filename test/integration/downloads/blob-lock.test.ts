import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { lockBlob } from '../../../src/domains/downloads/storage/blob-lock.ts';
import { createTemporaryFolder, type TemporaryFolder } from '../../support/data-dir.ts';
import { never } from '../../support/downloads/room.ts';

let folder: TemporaryFolder;
let path: string;
let other: ChildProcess | undefined;

beforeEach(async () => {
  folder = await createTemporaryFolder('lock');
  path = join(folder.path, '.locks/models--a--b/blob.lock');
});

afterEach(async () => {
  other?.kill('SIGKILL');
  other = undefined;
  await folder.remove();
});

/** Another tool that fetches the same blob. */
async function holdElsewhere(): Promise<ChildProcess> {
  mkdirSync(dirname(path), { recursive: true });
  const child = spawn('flock', ['--exclusive', path, 'sh', '-c', 'echo held; exec cat'], { stdio: ['pipe', 'pipe', 'inherit'] });
  other = child;
  await once(child.stdout, 'data');
  return child;
}

function isFree(): boolean {
  try {
    execFileSync('flock', ['--nonblock', path, 'true']);
    return true;
  } catch {
    return false;
  }
}

describe('the lock on a blob of the shared cache', () => {
  it('is held until it is given back', async () => {
    const release = await lockBlob({ lockPath: path }, never);
    expect(isFree()).toBe(false);
    await release();
    expect(isFree()).toBe(true);
  });

  it('waits for another tool that holds it', async () => {
    const child = await holdElsewhere();
    let isOurs = false;
    const waiting = lockBlob({ lockPath: path }, never).then((release) => {
      isOurs = true;
      return release;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(isOurs).toBe(false);
    child.stdin?.end();
    await (await waiting)();
    expect(isFree()).toBe(true);
  });

  it('ends the wait at once when it is stopped', async () => {
    await holdElsewhere();
    const stop = new AbortController();
    const waiting = lockBlob({ lockPath: path }, stop.signal);
    stop.abort(new Error('stopped'));
    await expect(waiting).rejects.toThrow('stopped');
    expect(isFree()).toBe(false);
  });

  it('is given up, with a word to the caller, when another tool holds it for long', async () => {
    await holdElsewhere();
    await expect(lockBlob({ lockPath: path, waitMs: 1 }, never)).rejects.toMatchObject({ code: 'OVERLOADED' });
    expect(isFree()).toBe(false);
  });

  it('is nothing where the layout has none', async () => {
    await (await lockBlob({ lockPath: null }, never))();
  });
});
