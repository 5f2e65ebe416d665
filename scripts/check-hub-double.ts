/** `node scripts/check-hub-double.ts <hf command> <work folder>`: the steps of check-hub-double.sh after the installation. */
import { existsSync, mkdirSync, realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { bufferContent, seededContent } from '../test/support/hub/content.ts';
import type { ExpectedFile, HfClient } from '../test/support/hub/hf-client.ts';
import { contentRequests, createHfClient, findCacheProblems } from '../test/support/hub/hf-client.ts';
import type { Hub } from '../test/support/hub/hub.ts';
import { createHub } from '../test/support/hub/hub.ts';

const REPO_ID = 'acme/tiny-gguf';
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
type Check = { hub: Hub; commit: string; hf: (home: string) => HfClient; workFolder: string };
type Step = { title: string; run: (check: Check) => Promise<string[]> };

const cacheOf = ({ home }: HfClient): string => join(home, 'hub');

async function download(check: Check, home: string): Promise<{ client: HfClient; problems: string[] }> {
  const client = check.hf(home);
  const { code, output } = await client.run(['download', REPO_ID]);
  return { client, problems: code === 0 ? [] : [`hf ended with ${code}: ${output.trim()}`] };
}

/** Any cache, whoever filled it: hf must take it as it is and ask for metadata only. */
async function isAcceptedByHf(check: Check, home: string): Promise<string[]> {
  check.hub.requests.clear();
  const { problems } = await download(check, home);
  return [...problems, ...contentRequests(check.hub.requests).map(({ method, path }) => `fetched again: ${method} ${path}`)];
}

/** The blob and the link of one file. */
function cacheFiles({ commit }: Check, client: HfClient, path: string): [blob: string, link: string] {
  const link = join(cacheOf(client), `models--${REPO_ID.replace('/', '--')}`, 'snapshots', commit, path);
  return [realpathSync(link), link];
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
];

function addRepos(hub: Hub): string {
  const weights = { path: 'weights.gguf', content: seededContent('closed', 10_000) };
  hub.addRepo({ id: 'acme/private', private: true, files: [weights] });
  hub.addRepo({ id: 'acme/gated', gated: 'manual', files: [weights] });
  return hub.addRepo({ id: REPO_ID, files: FILES, pipelineTag: 'text-generation' }).sha;
}

async function main(command: string, workFolder: string): Promise<number> {
  const hub = await createHub({ tokens: { [TOKEN]: { name: 'checker', repos: 'all' } } });
  const check: Check = {
    hub, workFolder,
    commit: addRepos(hub),
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
