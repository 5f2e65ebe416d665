import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type ChildProgram, startChildProgram } from '../../support/child-program.ts';
import { createTemporaryFolder, type TemporaryFolder } from '../../support/data-dir.ts';
import { addNoise, jobFor, MiB, sha256OfFile } from '../../support/downloads/engine.ts';
import { createHub, type Hub } from '../../support/hub/hub.ts';

const program = fileURLToPath(new URL('../../support/programs/fetch-file.ts', import.meta.url));

let hub: Hub;
let folder: TemporaryFolder;

beforeEach(async () => {
  [hub, folder] = await Promise.all([createHub({ cdnBytesPerSecond: 6 * MiB }), createTemporaryFolder('kill')]);
});

afterEach(async () => {
  await hub.close();
  await folder.remove();
});

/** What the program says last before it ends, or the first line that is enough. */
async function lastWord(child: ChildProgram, isEnough: (line: Record<string, unknown>) => boolean = () => false): Promise<Record<string, unknown>> {
  let last: Record<string, unknown> = {};
  for (;;) {
    try {
      last = await child.nextLine();
    } catch {
      return last;
    }
    if (isEnough(last)) return last;
  }
}

describe('a process that is killed', () => {
  it.each([3, 17, 41])('in the middle of a file, %d MiB in, fetches no more than 16 MiB again', async (killAt) => {
    const file = addNoise(hub, 56 * MiB);
    const { partPath } = jobFor({ folder: folder.path, hub, file });
    const args = [hub.endpoint, partPath, JSON.stringify(file.identity)];
    const first = startChildProgram(program, args);
    await lastWord(first, ({ mebibytes }) => Number(mebibytes) >= killAt);
    await first.kill('SIGKILL');
    const reached = Number((await lastWord(first))['mebibytes'] ?? killAt);
    expect(existsSync(partPath)).toBe(true);
    const requestsBefore = hub.requests.entries.length;
    const second = startChildProgram(program, args);
    expect((await lastWord(second, (line) => 'sha256' in line))['sha256']).toBe(file.identity.sha256);
    expect(sha256OfFile(partPath)).toBe(file.identity.sha256);
    // Asked for, not sent: what waited in the kernel when the first process died was read by nobody.
    const asked = hub.requests.entries.slice(requestsBefore).reduce((sum, { bytesSent }) => sum + bytesSent, 0);
    expect(asked).toBeLessThanOrEqual(Math.min(56, 56 - reached + 16) * MiB);
  });
});
