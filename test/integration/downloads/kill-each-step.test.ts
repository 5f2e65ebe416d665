import { readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { startChildProgram } from '../../support/child-program.ts';
import { createTemporaryFolder, type TemporaryFolder } from '../../support/data-dir.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { MiB, sha256OfFile } from '../../support/downloads/engine.ts';
import { ggufContent, openRoom } from '../../support/downloads/room.ts';
import { emptyTables } from '../../support/downloads/world.ts';
import { gitBlobSha1Of, sha256Of, toContent } from '../../support/hub/content.ts';
import { createHub, type Hub, type HubRepo } from '../../support/hub/hub.ts';

const program = fileURLToPath(new URL('../../support/programs/download-room.ts', import.meta.url));
const modelId = 'acme/step-GGUF';
const readme = '# Step';
const content = ggufContent('step', 9 * MiB);

let database: TestDatabase;
let hub: Hub;
let repo: HubRepo;
let folder: TemporaryFolder;

beforeAll(async () => {
  [database, hub, folder] = await Promise.all([createTestDatabase(), createHub(), createTemporaryFolder('steps')]);
  repo = hub.addRepo({ id: modelId, files: [{ path: 'step.Q4_K_M.gguf', content }, { path: 'README.md', content: readme }] });
  await (await open()).close();
});

afterAll(async () => {
  await Promise.all([hub.close(), database.drop()]);
  await folder.remove();
});

const open = () => openRoom({ orm: database.orm, databaseUrl: database.url, folder: folder.path, endpoint: hub.endpoint });

async function empty(): Promise<void> {
  await database.em().getConnection().execute(`${emptyTables}; delete from pgboss.job`);
  await rm(join(folder.path, 'hf'), { recursive: true, force: true });
  hub.requests.clear();
}

/** Runs the program to its end, or to its death at that step. */
async function run(killAt: number): Promise<{ lines: Record<string, unknown>[]; last: Record<string, unknown> }> {
  const child = startChildProgram(program, [database.url, folder.path, hub.endpoint, modelId, String(killAt)]);
  const lines: Record<string, unknown>[] = [];
  for (;;) {
    try {
      lines.push(await child.nextLine());
    } catch {
      return { lines, last: lines.at(-1) ?? {} };
    }
  }
}

/** What the store holds when all is done, and nothing else. */
function expectedFiles(): string[] {
  const home = 'models--acme--step-GGUF';
  const blobs = [sha256Of(content), gitBlobSha1Of(toContent(readme))];
  const names = ['step.Q4_K_M.gguf', 'README.md'].map((path) => `snapshots/${repo.sha}/${path}`);
  return [`.locks/${home}/${sha256Of(content)}.lock`, ...[...blobs.map((blob) => `blobs/${blob}`), ...names, 'refs/main'].map((name) => `${home}/${name}`)].sort();
}

function filesOfStore(): string[] {
  const root = join(folder.path, 'hf');
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .sort();
}

/** Every kind of step at its first and its last time, or every single one (`LLMM_ALL_STEPS=1`, some minutes). */
function chooseSteps(lines: readonly Record<string, unknown>[]): { step: number; what: string }[] {
  const all = lines.flatMap(({ step }) => {
    const [, number = '', what = ''] = /^(\d+) (.*)$/.exec(String(step)) ?? [];
    return what === '' ? [] : [{ step: Number(number), what }];
  });
  if (process.env['LLMM_ALL_STEPS'] === '1') return all;
  return all.filter(({ step, what }) => {
    const same = all.filter((other) => other.what === what);
    return step === same[0]?.step || step === same.at(-1)?.step;
  });
}

/** What is wrong after a restart, or nothing. */
async function finish(): Promise<string[]> {
  const room = await open();
  try {
    const { items } = await room.downloads.list({}, { limit: 10 });
    if (items.length > 1) return [`${items.length} tasks`];
    // Without a row its caller never had an answer, and asks again.
    const id = items[0]?.id ?? (await room.startDownload({ modelId })).task.id;
    await room.reaches(id, 'completed');
    const files = filesOfStore();
    const unknown = files.filter((file) => !expectedFiles().includes(file));
    const missing = expectedFiles().filter((file) => !files.includes(file));
    const isRight = sha256OfFile(join(folder.path, 'hf', 'models--acme--step-GGUF', 'snapshots', repo.sha, 'step.Q4_K_M.gguf')) === sha256Of(content);
    const installed = await room.installed.list({ limit: 10 });
    return [
      ...unknown.map((file) => `unknown: ${file}`),
      ...missing.map((file) => `missing: ${file}`),
      ...(isRight ? [] : ['wrong bytes']),
      ...(installed.items.length === 1 && installed.items[0]?.verification === 'verified' ? [] : ['not installed once']),
    ];
  } catch (error) {
    return [String(error)];
  } finally {
    await room.close();
  }
}

describe('kill -9 at each step that is kept', () => {
  it('ends completed after a restart, with the right bytes, nothing else in the store, and no whole file fetched twice', async () => {
    const { lines } = await run(0);
    expect(lines).toContainEqual(expect.objectContaining({ status: 'completed' }));
    expect(filesOfStore()).toEqual(expectedFiles());
    const steps = chooseSteps(lines);
    expect(steps.length).toBeGreaterThan(30);
    const verified = steps.filter(({ what }) => what.startsWith('insert into "installed_models"'));
    const faults: string[] = [];
    for (const { step, what } of steps) {
      await empty();
      await run(step);
      const before = hub.requests.entries.length;
      faults.push(...(await finish()).map((fault) => `step ${step}, before ${what}: ${fault}`));
      const again = hub.requests.entries.slice(before).filter(({ server }) => server === 'cdn');
      const bytes = again.reduce((sum, { bytesSent }) => sum + bytesSent, 0);
      // Of a file that was whole nothing is asked for again but what the catalogue looks at.
      if (step >= (verified[0]?.step ?? Infinity) && bytes > MiB) faults.push(`step ${step}, before ${what}: ${bytes} bytes were fetched again`);
    }
    expect(faults).toEqual([]);
  }, 1_200_000);
});
