/** `node scripts/check-hub-double.ts <hf command> <work folder>`: the steps of check-hub-double.sh after the installation. */
import { existsSync, mkdirSync, realpathSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { bufferContent, seededContent } from '../test/support/hub/content.ts';
import type { ExpectedFile, HfClient } from '../test/support/hub/hf-client.ts';
import { contentRequests, createHfClient, findCacheProblems } from '../test/support/hub/hf-client.ts';
import type { Hub } from '../test/support/hub/hub.ts';
import { createHub } from '../test/support/hub/hub.ts';
import { downloadByService } from '../test/support/hub/shared-cache.ts';
import { buildTinyGguf } from '../test/support/tiny-gguf.ts';

const REPO_ID = 'acme/tiny-gguf';
/** A model that is what its names say, as our service wants it. */
const MODEL_ID = 'acme/story-GGUF';
const MODEL_FILES: ExpectedFile[] = [
  { path: 'README.md', content: bufferContent('# Story\n'), lfs: false },
  { path: 'config.json', content: bufferContent('{"architectures":["Llama"]}\n'), lfs: false },
  { path: 'story-F32.gguf', content: bufferContent(buildTinyGguf({ mode: 'story' })), lfs: true },
];
const TOKEN = 'hf_check';
const FILES: ExpectedFile[] = [
  { path: 'README.md', content: bufferContent('# Tiny\n'), lfs: false },
  { path: 'config.json', content: bufferContent('{"architectures":["Llama"]}\n'), lfs: false },
  { path: 'empty.txt', content: bufferContent(''), lfs: false },
  { path: 'sub/folder/notes é.txt', content: bufferContent('notes\n'), lfs: false },
  { path: 'tiny-Q4_K_M.gguf', content: seededContent('check', 24 * 1024 * 1024 + 17), lfs: true },
  { path: 'sub/model.safetensors', content: seededContent('check too', 300_001), lfs: true },
];

/** What a step gets; a step returns what is wrong. */
type Check = { hub: Hub; commit: string; modelCommit: string; hf: (home: string) => HfClient; workFolder: string };
type Step = { title: string; run: (check: Check) => Promise<string[]> };

const cacheOf = ({ home }: HfClient): string => join(home, 'hub');

async function download(check: Check, home: string, repoId = REPO_ID): Promise<{ client: HfClient; problems: string[] }> {
  const client = check.hf(home);
  const { code, output } = await client.run(['download', repoId]);
  return { client, problems: code === 0 ? [] : [`hf ended with ${code}: ${output.trim()}`] };
}

/** Any cache, whoever filled it: hf must take it as it is and ask for metadata only. */
async function isAcceptedByHf(check: Check, home: string, repoId = REPO_ID): Promise<string[]> {
  check.hub.requests.clear();
  const { problems } = await download(check, home, repoId);
  return [...problems, ...contentRequests(check.hub.requests).map(({ method, path }) => `fetched again: ${method} ${path}`)];
}

async function byService({ hub, hf }: Check, home: string): Promise<string[]> {
  return await downloadByService({ home: hf(home).home, endpoint: hub.endpoint, modelId: `huggingface:${MODEL_ID}` });
}

/** The blob and the link of one file. */
function cacheFiles({ commit }: Check, client: HfClient, path: string, repoId = REPO_ID): [blob: string, link: string] {
  const link = join(cacheOf(client), `models--${repoId.replace('/', '--')}`, 'snapshots', commit, path);
  return [realpathSync(link), link];
}

function identityOf(path: string): string {
  const { ino, mtimeMs, size } = statSync(path);
  return `${ino}:${mtimeMs}:${size}`;
}

async function refuses(check: Check, args: readonly string[], expected: RegExp): Promise<string[]> {
  const { code, output } = await check.hf('refusals').run(args);
  return code !== 0 && expected.test(output) ? [] : [`hf ${args.join(' ')} ended with ${code}: ${output.trim()}`];
}

const steps: Step[] = [
  {
    title: 'hf downloads a repository; blobs, refs and snapshots hold just its bytes',
    run: async (check) => {
      const { client, problems } = await download(check, 'filled-by-hf');
      return [...problems, ...findCacheProblems(cacheOf(client), { id: REPO_ID, commit: check.commit, files: FILES })];
    },
  },
  {
    title: 'hf takes a full cache as it is: metadata requests only',
    run: (check) => isAcceptedByHf(check, 'filled-by-hf'),
  },
  {
    title: 'hf fetches again just the file that was taken out of the cache',
    run: async (check) => {
      const client = check.hf('filled-by-hf');
      const [blob, link] = cacheFiles(check, client, 'sub/model.safetensors');
      for (const path of [blob, link]) rmSync(path);
      check.hub.requests.clear();
      const { problems } = await download(check, 'filled-by-hf');
      const fetched = contentRequests(check.hub.requests).filter(({ server }) => server === 'cdn');
      const expected = fetched.length === 1 && fetched[0]?.bytesSent === 300_001;
      return [...problems, ...(expected && existsSync(blob) ? [] : [`unexpected traffic:\n${check.hub.requests.toString()}`])];
    },
  },
  {
    title: 'hf sends its token to the Hub and not to the CDN',
    run: async ({ hub, hf }) => {
      hub.requests.clear();
      const { code, output } = await hf('private').run(['download', 'acme/private', 'weights.gguf'], { HF_TOKEN: TOKEN });
      const leaked = hub.requests.entries.filter(({ server, authorization }) => server === 'cdn' && authorization !== null);
      const used = hub.requests.entries.some(({ server, authorization }) => server === 'hub' && authorization === `Bearer ${TOKEN}`);
      return [...(code === 0 && used ? [] : [`the token was not used: ${output.trim()}`]), ...leaked.map(({ path }) => `token sent to ${path}`)];
    },
  },
  {
    title: 'hf understands the refusals: gated, missing repository, revision and file',
    run: async (check) => [
      ...(await refuses(check, ['download', 'acme/gated', 'weights.gguf'], /requires approval/)),
      ...(await refuses(check, ['download', 'acme/none'], /Model 'acme\/none' not found/)),
      ...(await refuses(check, ['download', REPO_ID, '--revision', 'none'], /Revision not found/)),
      ...(await refuses(check, ['download', REPO_ID, 'none.txt'], /File not found/)),
    ],
  },
  {
    title: 'our service fills a cache as hf would, and hf takes it as it is',
    run: async (check) => {
      const problems = await byService(check, 'filled-by-service');
      const found = findCacheProblems(cacheOf(check.hf('filled-by-service')), { id: MODEL_ID, commit: check.modelCommit, files: MODEL_FILES });
      return [...problems, ...found, ...(await isAcceptedByHf(check, 'filled-by-service', MODEL_ID))];
    },
  },
  {
    title: 'our service takes the cache that hf has filled as it is',
    run: async (check) => {
      const { client, problems } = await download(check, 'filled-for-service', MODEL_ID);
      // The service reads headers to describe a model, so requests prove nothing: the blobs must be the very same files.
      const identities = (): string[] => MODEL_FILES.map(({ path }) => identityOf(cacheFiles({ ...check, commit: check.modelCommit }, client, path, MODEL_ID)[0]));
      const before = identities();
      problems.push(...(await byService(check, 'filled-for-service')));
      return [...problems, ...identities().flatMap((identity, index) => (identity === before[index] ? [] : [`${MODEL_FILES[index]?.path ?? ''} was written again`]))];
    },
  },
];

function addRepos(hub: Hub): Pick<Check, 'commit' | 'modelCommit'> {
  const weights = { path: 'weights.gguf', content: seededContent('closed', 10_000) };
  hub.addRepo({ id: 'acme/private', private: true, files: [weights] });
  hub.addRepo({ id: 'acme/gated', gated: 'manual', files: [weights] });
  const commit = hub.addRepo({ id: REPO_ID, files: FILES, pipelineTag: 'text-generation' }).sha;
  return { commit, modelCommit: hub.addRepo({ id: MODEL_ID, files: MODEL_FILES, pipelineTag: 'text-generation' }).sha };
}

async function main(command: string, workFolder: string): Promise<number> {
  const hub = await createHub({ tokens: { [TOKEN]: { name: 'checker', repos: 'all' } } });
  const check: Check = {
    hub, workFolder,
    ...addRepos(hub),
    hf: (name) => {
      const home = join(workFolder, name);
      mkdirSync(home, { recursive: true });
      return createHfClient({ command, home, endpoint: hub.endpoint });
    },
  };
  let failed = 0;
  for (const { title, run } of steps) {
    const problems = await run(check);
    console.log(`${problems.length === 0 ? 'ok    ' : 'FAILED'} ${title}`);
    for (const problem of problems) console.log(`       ${problem}`);
    failed += problems.length === 0 ? 0 : 1;
  }
  await hub.close();
  return failed;
}

const [command = '', workFolder = ''] = process.argv.slice(2);
process.exitCode = (await main(command, workFolder)) === 0 ? 0 : 1;
