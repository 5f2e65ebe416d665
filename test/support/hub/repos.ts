/** Repositories of the Hub double: files, commits and who may see them. */
import { createHash } from 'node:crypto';
import type { Content } from './content.ts';
import { gitBlobSha1Of, sha256Of, toContent } from './content.ts';

export type ScanStatus = 'unscanned' | 'queued' | 'safe' | 'caution' | 'suspicious' | 'unsafe' | 'error';

export type FileInput = {
  /** Taken as it is, so that a listing can be hostile. */
  path: string;
  content: Content | Uint8Array | string;
  /** Left out: by suffix and size, as a usual .gitattributes decides. */
  lfs?: boolean;
  security?: ScanStatus;
  pickleImports?: readonly { module: string; name: string; safety: 'innocuous' | 'suspicious' | 'dangerous' }[];
  /** What the listing and the headers claim, where it is not the truth. */
  claims?: { size?: number; sha256?: string };
};

export type RepoInput = {
  /** `owner/name`, or one segment as the oldest repositories have. */
  id: string;
  files: readonly FileInput[];
  private?: boolean;
  gated?: false | 'auto' | 'manual';
  disabled?: boolean;
  tags?: readonly string[];
  pipelineTag?: string;
  libraryName?: string;
  downloads?: number;
  likes?: number;
  likes30d?: number;
  trendingScore?: number;
  createdAt?: string;
  lastModified?: string;
  gguf?: Record<string, unknown>;
  safetensors?: { parameters: Record<string, number>; total: number };
  config?: Record<string, unknown>;
  cardData?: Record<string, unknown>;
  /** Names under which the repository was known before; the Hub redirects from them. */
  formerIds?: readonly string[];
};

export type RepoFile = {
  path: string;
  content: Content;
  size: number;
  /** Git id of the blob: of the pointer when the content is in LFS. */
  oid: string;
  lfs: { oid: string; size: number; pointerSize: number } | null;
  pointer: string | null;
  xetHash: string | null;
  security: Record<string, unknown>;
};

export type Commit = { sha: string; title: string; date: string; files: ReadonlyMap<string, RepoFile> };

export type Repo = {
  readonly info: Omit<RepoInput, 'files'>;
  readonly id: string;
  readonly commits: Map<string, Commit>;
  /** Branches, tags and `refs/pr/n`, each to a commit. */
  readonly refs: Map<string, string>;
  readonly tags: readonly string[];
  /** Sets a ref to a new commit that holds just these files, and returns the commit's id. */
  commit(files: readonly FileInput[], options?: { ref?: string; title?: string; date?: string }): string;
  find(revision: string): Commit | undefined;
};

const LFS_SUFFIX = /\.(gguf|safetensors|bin|pt|pth|ckpt|onnx|h5|pkl|msgpack|model|zip|tar|gz)$/i;
/** The Hub refuses larger files outside LFS. */
const GIT_LIMIT_BYTES = 10 * 1024 * 1024;
const DEFAULT_DATE = '2026-03-01T12:00:00.000Z';

const sha1 = (text: string): string => createHash('sha1').update(text).digest('hex');

function describeScans({ security = 'safe', pickleImports }: FileInput): Record<string, unknown> {
  const antivirus = { status: security, version: '1.4.3/27000' };
  const imports = { status: pickleImports ? security : 'unscanned', pickleImports: pickleImports ?? [], version: '0.0.0' };
  return { status: security, avScan: antivirus, pickleImportScan: imports, jFrogScan: { status: 'unscanned' }, protectAiScan: { status: 'unscanned' } };
}

function toRepoFile(input: FileInput): RepoFile {
  const content = toContent(input.content);
  const size = input.claims?.size ?? content.size;
  const inLfs = input.lfs ?? (LFS_SUFFIX.test(input.path) || content.size > GIT_LIMIT_BYTES);
  const base = { path: input.path, content, size, security: describeScans(input) };
  if (!inLfs) return { ...base, oid: gitBlobSha1Of(content), lfs: null, pointer: null, xetHash: null };
  const sha256 = input.claims?.sha256 ?? sha256Of(content);
  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256}\nsize ${size}\n`;
  return {
    ...base, pointer,
    oid: gitBlobSha1Of(toContent(pointer)),
    lfs: { oid: sha256, size, pointerSize: pointer.length },
    // Another function of the content than its SHA-256, as on the Hub: whoever compares the two must notice.
    xetHash: createHash('sha256').update('xet').update(sha256).digest('hex'),
  };
}

function deriveTags(info: Omit<RepoInput, 'files'>, files: Iterable<RepoFile>): string[] {
  const suffixes = [...files].map(({ path }) => path.slice(path.lastIndexOf('.') + 1));
  const license = info.cardData?.['license'];
  return [
    ...new Set([
      ...(info.libraryName ? [info.libraryName] : []),
      ...['gguf', 'safetensors', 'onnx'].filter((format) => suffixes.includes(format)),
      ...(info.pipelineTag ? [info.pipelineTag] : []),
      ...(typeof license === 'string' ? [`license:${license}`] : []),
      ...(info.tags ?? []),
      'region:us',
    ]),
  ];
}

export function createRepo({ files, ...info }: RepoInput): Repo {
  const commits = new Map<string, Commit>();
  const refs = new Map<string, string>();
  const repo: Repo = {
    info, commits, refs,
    id: info.id,
    get tags() {
      return deriveTags(info, repo.find('main')?.files.values() ?? []);
    },
    commit: (inputs, { ref = 'main', title = 'Upload files', date = info.lastModified ?? DEFAULT_DATE } = {}) => {
      const contents = new Map(inputs.map((input) => [input.path, toRepoFile(input)]));
      const sha = sha1([info.id, title, date, ...[...contents.values()].map(({ path, oid }) => `${path}\0${oid}`)].join('\n'));
      commits.set(sha, { sha, title, date, files: contents });
      refs.set(ref, sha);
      return sha;
    },
    find: (revision) => commits.get(refs.get(revision === 'HEAD' ? 'main' : revision) ?? revision),
  };
  repo.commit(files);
  return repo;
}

export type TreeEntry = { type: 'file'; file: RepoFile } | { type: 'directory'; path: string; oid: string };

/** What lies below `folder` ('' = the root), or undefined when there is no such folder. */
export function listTree(commit: Commit, folder: string, recursive: boolean): TreeEntry[] | undefined {
  const prefix = folder === '' ? '' : `${folder}/`;
  const below = [...commit.files.values()].filter(({ path }) => path.startsWith(prefix));
  if (below.length === 0 && folder !== '') return undefined;
  const entries = new Map<string, TreeEntry>();
  for (const file of below) {
    const inner = file.path.slice(prefix.length).split('/');
    for (let depth = 1; depth < inner.length && (recursive || depth === 1); depth += 1) {
      const path = prefix + inner.slice(0, depth).join('/');
      entries.set(path, { type: 'directory', path, oid: sha1(`${commit.sha} ${path}`) });
    }
    if (recursive || inner.length === 1) entries.set(file.path, { type: 'file', file });
  }
  return [...entries.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry);
}
