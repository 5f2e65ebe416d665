import { randomUUID } from 'node:crypto';
import { chmod, copyFile, mkdir, open, readdir, rename, rm, stat, statfs, type FileHandle } from 'node:fs/promises';
import { findPackageJSON } from 'node:module';
import path from 'node:path';
import { makePrivateFolder, prepareDataFolder } from '../../infrastructure/data-folder/data-folder.ts';
import { AppError } from '../../shared/errors.ts';
import { runStep } from './step.ts';
import { checkTools, type GpuKind } from './tools.ts';
import { tryServer } from './try-server.ts';

export type BuildStage = 'unpack' | 'configure' | 'compile' | 'test' | 'install';

export type BuildOptions = {
  dataDir: string;
  env: Readonly<Record<string, string | undefined>>;
  gpu: GpuKind;
  /** Compilers at once. */
  jobs: number;
  /** Each stage when it begins, and while it compiles how much is done, 0 to 1. */
  onProgress: (stage: BuildStage, progress: number | null) => void;
};

export type BuiltEngine = { path: string; logFile: string };

const gib = 1024 ** 3;
/** Source, objects and the program: 1 GB measured for processors; CUDA's kernels need several times that. */
const neededBytes = { NONE: 2 * gib, VULKAN: 3 * gib, CUDA: 6 * gib } as const;
const workPrefix = '.build-';
const programName = process.platform === 'win32' ? 'llama-server.exe' : 'llama-server';

/** One program without libraries of its own, and nothing that has to be fetched. */
const cmakeOptions: readonly string[] = [
  '-DCMAKE_BUILD_TYPE=Release', '-DBUILD_SHARED_LIBS=OFF', '-DLLAMA_BUILD_SERVER=ON', '-DLLAMA_BUILD_TESTS=OFF', '-DLLAMA_BUILD_EXAMPLES=OFF', '-DLLAMA_BUILD_APP=OFF',
  '-DLLAMA_BUILD_UI=OFF', '-DLLAMA_USE_PREBUILT_UI=OFF', '-DLLAMA_OPENSSL=OFF', '-DGGML_CCACHE=OFF',
];
const gpuOptions = { NONE: [], CUDA: ['-DGGML_CUDA=ON'], VULKAN: ['-DGGML_VULKAN=ON'] } as const;

/** llama.cpp's source as node-llama-cpp carries it. */
async function findSource(): Promise<string> {
  const manifest = findPackageJSON('node-llama-cpp', import.meta.url);
  const bundle = manifest === undefined ? '' : path.join(path.dirname(manifest), 'llama', 'gitRelease.bundle');
  if (bundle === '' || !(await stat(bundle).then((found) => found.isFile(), () => false))) {
    throw new AppError('RUNTIME_UNAVAILABLE', 'The source of llama.cpp is not there: run "npm ci" in a checkout; images of containers leave it out.');
  }
  return bundle;
}

async function checkRoom(folder: string, gpu: keyof typeof neededBytes): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize < neededBytes[gpu]) throw new AppError('INSUFFICIENT_STORAGE', `The build needs ${neededBytes[gpu] / gib} GiB at ${folder}, and ${(bavail * bsize / gib).toFixed(1)} GiB are free.`);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** What builds have left that were killed. */
async function removeLeftovers(engines: string): Promise<void> {
  for (const name of await readdir(engines)) {
    const pid = name.startsWith(workPrefix) ? Number(name.slice(workPrefix.length).split('-')[0]) : NaN;
    if (Number.isInteger(pid) && !isAlive(pid)) await rm(path.join(engines, name), { recursive: true, force: true });
  }
}

/** Makefiles say `[ 12%]`, Ninja `[12/345]`. */
export function readProgress(line: string): number | null {
  const [, percent, done, total] = /^\[(?:\s*(\d+)%|(\d+)\/(\d+))\]/.exec(line) ?? [];
  if (percent !== undefined) return Math.min(1, Number(percent) / 100);
  return done !== undefined && Number(total) > 0 ? Math.min(1, Number(done) / Number(total)) : null;
}

type Work = BuildOptions & { gpu: Exclude<GpuKind, 'AUTO'>; folder: string; log: FileHandle; logFile: string };

/** Answers the program, which lies in the work folder still. */
async function compile(work: Work, bundle: string, signal: AbortSignal): Promise<string> {
  const { folder, gpu, jobs, onProgress } = work;
  const run = (program: string, args: readonly string[], onLine?: (line: string) => void): Promise<void> =>
    runStep({ program, args, cwd: folder }, { ...work, ...(onLine ? { onLine } : {}) }, signal);
  onProgress('unpack', null);
  await run('git', ['-c', 'advice.detachedHead=false', 'clone', '--quiet', bundle, 'source']);
  onProgress('configure', null);
  await run('cmake', ['-S', 'source', '-B', 'build', ...cmakeOptions, ...gpuOptions[gpu]]);
  onProgress('compile', 0);
  await run('cmake', ['--build', 'build', '--config', 'Release', '--target', 'llama-server', '--parallel', String(jobs)], (line) => {
    const progress = readProgress(line);
    if (progress !== null) onProgress('compile', progress);
  });
  return path.join(folder, 'build', 'bin', programName);
}

/** The last step, and the only one that changes anything: one rename, which is done or not. */
async function install(program: string, engines: string): Promise<string> {
  const target = path.join(engines, 'llama-server', 'bin', programName);
  await mkdir(path.dirname(target), { recursive: true, mode: 0o700 });
  await rename(program, target);
  return target;
}

/**
 * Compiles llama.cpp's server from the source that came with `npm ci`, tries it, and puts it where deployments look
 * for it first. Works in a folder of its own: what fails or is interrupted before the end changes nothing.
 */
export async function buildLlamaServer(options: BuildOptions, signal: AbortSignal): Promise<BuiltEngine> {
  const gpu = await checkTools(options.gpu, options.env);
  const bundle = await findSource();
  const data = await prepareDataFolder(options.dataDir);
  const engines = path.join(data.path, 'engines');
  await makePrivateFolder(engines);
  await removeLeftovers(engines);
  await checkRoom(engines, gpu);
  const folder = path.join(engines, `${workPrefix}${process.pid}-${randomUUID()}`);
  const logFile = path.join(data.logs, 'engine-build.log');
  const log = await open(logFile, 'w', 0o600);
  try {
    await mkdir(folder, { mode: 0o700 });
    const work: Work = { ...options, gpu, folder, log, logFile };
    const built = await compile(work, bundle, signal);
    const program = path.join(folder, programName);
    await copyFile(built, program).catch((error: unknown) => {
      throw new AppError('START_FAILED', `The build ended without a program (${logFile} has all of it).`, { cause: error });
    });
    await chmod(program, 0o755);
    options.onProgress('test', null);
    await tryServer({ program, folder, log, logFile }, signal);
    signal.throwIfAborted();
    options.onProgress('install', null);
    return { path: await install(program, engines), logFile };
  } finally {
    await log.close();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
