/** The real `hf` command against a Hub double, and what it must leave in its cache. */
import { spawn } from 'node:child_process';
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { Content } from './content.ts';
import { gitBlobSha1Of, sha256Of } from './content.ts';
import type { LoggedRequest, RequestLog } from './log.ts';

export type HfRun = { code: number; output: string };

export type HfClient = { readonly home: string; run(args: readonly string[], environment?: Record<string, string>): Promise<HfRun> };

/** `home` is the HF_HOME that it reads and fills; `command` the path of `hf`. */
export function createHfClient({ command, home, endpoint }: { command: string; home: string; endpoint: string }): HfClient {
  const env = {
    PATH: process.env['PATH'] ?? '', HOME: home, HF_HOME: home, HF_ENDPOINT: endpoint,
    // The double has no Xet storage; the plain route is the one under test.
    HF_HUB_DISABLE_XET: '1', HF_HUB_DISABLE_TELEMETRY: '1', HF_HUB_DISABLE_UPDATE_CHECK: '1', HF_HUB_DISABLE_PROGRESS_BARS: '1', NO_COLOR: '1',
  };
  return {
    home,
    run: (args, environment = {}) =>
      new Promise((settle, fail) => {
        const child = spawn(command, args, { env: { ...env, ...environment }, stdio: ['ignore', 'pipe', 'pipe'] });
        let output = '';
        for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => (output += text));
        child.on('error', fail);
        child.on('close', (code) => settle({ code: code ?? 1, output }));
      }),
  };
}

export type ExpectedFile = { path: string; content: Content; lfs: boolean };

function checkFile(repoFolder: string, commit: string, { path, content, lfs }: ExpectedFile): string[] {
  const name = lfs ? sha256Of(content) : gitBlobSha1Of(content);
  const blob = join(repoFolder, 'blobs', name);
  const link = join(repoFolder, 'snapshots', commit, path);
  if (!existsSync(blob)) return [`${path}: no blob ${name}`];
  if (!existsSync(link)) return [`${path}: not in the snapshot`];
  const problems: string[] = [];
  if (!lstatSync(link).isSymbolicLink() || resolve(dirname(link), readlinkSync(link)) !== resolve(blob)) problems.push(`${path}: the snapshot does not link to its blob`);
  if (statSync(blob).size !== content.size || !readFileSync(blob).equals(content.slice(0, content.size))) problems.push(`${path}: the bytes differ`);
  return problems;
}

/** What is wrong with a cache folder (`HF_HOME/hub`) that should hold just these files of a repository. */
export function findCacheProblems(cacheFolder: string, repo: { id: string; commit: string; files: readonly ExpectedFile[] }): string[] {
  const folder = join(cacheFolder, `models--${repo.id.replaceAll('/', '--')}`);
  if (!existsSync(folder)) return [`${folder} is missing`];
  const ref = join(folder, 'refs', 'main');
  const problems = existsSync(ref) && readFileSync(ref, 'utf8').trim() === repo.commit ? [] : ['refs/main does not name the commit'];
  problems.push(...repo.files.flatMap((file) => checkFile(folder, repo.commit, file)));
  const blobs = existsSync(join(folder, 'blobs')) ? readdirSync(join(folder, 'blobs')) : [];
  const expected = new Set(repo.files.map(({ content, lfs }) => (lfs ? sha256Of(content) : gitBlobSha1Of(content))));
  return [...problems, ...blobs.filter((blob) => !expected.has(blob)).map((blob) => `blobs/${blob} belongs to no file`)];
}

/** Requests that fetched file contents; a full cache needs none. */
export function contentRequests(log: RequestLog): LoggedRequest[] {
  return log.entries.filter(({ method, server, path }) => method === 'GET' && (server === 'cdn' || /\/(resolve|resolve-cache|raw)\//.test(path)));
}
