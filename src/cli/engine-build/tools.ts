import { findInPath } from '../../platform/programs.ts';
import { AppError } from '../../shared/errors.ts';
import { wrongUsage } from '../failure.ts';

export const gpuKinds = ['AUTO', 'NONE', 'CUDA', 'VULKAN'] as const;
export type GpuKind = (typeof gpuKinds)[number];

type Env = Readonly<Record<string, string | undefined>>;
type Tool = { programs: readonly string[]; what: string };

const always: readonly Tool[] = [
  { programs: ['git'], what: 'git' },
  { programs: ['cmake'], what: 'cmake' },
  { programs: ['c++', 'g++', 'clang++'], what: 'a C++ compiler' },
  { programs: ['make', 'ninja'], what: 'make' },
];
const forGpu = { CUDA: { programs: ['nvcc'], what: "nvcc of NVIDIA's CUDA toolkit" }, VULKAN: { programs: ['glslc'], what: 'glslc and the headers of the Vulkan SDK' } } as const satisfies Record<string, Tool>;

async function isThere({ programs }: Tool, env: Env): Promise<boolean> {
  const found = await Promise.all(programs.map((program) => findInPath(program, env['PATH'])));
  return found.some((place) => place !== null);
}

function remedy(): string {
  return process.platform === 'darwin' ? '"xcode-select --install" and "brew install cmake"' : '"apt-get install cmake g++ make git" on Debian and Ubuntu';
}

/**
 * What the server is built for. A server for processors alone would be used in place of an embedded engine that has
 * the graphics card, so it is not made unasked where there is one.
 */
async function chooseGpu(asked: GpuKind, env: Env): Promise<Exclude<GpuKind, 'AUTO'>> {
  if (asked !== 'AUTO') return asked;
  if (await isThere(forGpu.CUDA, env)) return 'CUDA';
  if ((await findInPath('nvidia-smi', env['PATH'])) === null) return 'NONE';
  throw wrongUsage('This machine has an NVIDIA card, but not nvcc to build for it: install the CUDA toolkit, or say --gpu vulkan or --gpu none.');
}

/** Throws RUNTIME_UNAVAILABLE with everything that is missing, and how to get it. */
export async function checkTools(asked: GpuKind, env: Env): Promise<Exclude<GpuKind, 'AUTO'>> {
  const gpu = await chooseGpu(asked, env);
  const needed: Tool[] = [...always, ...(gpu === 'NONE' ? [] : [forGpu[gpu]])];
  const missing: string[] = [];
  for (const tool of needed) if (!(await isThere(tool, env))) missing.push(tool.what);
  if (missing.length > 0) throw new AppError('RUNTIME_UNAVAILABLE', `To build it, ${missing.join(', ')} must be installed: ${remedy()}.`);
  return gpu;
}
