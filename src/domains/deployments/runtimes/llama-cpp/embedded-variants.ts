import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { findPackageJSON } from 'node:module';
import { dirname, join } from 'node:path';
import type { EngineInfo } from '../../types.ts';
import type { Variant as TriedVariant, VariantTrials } from './variant-trials.ts';

type Variant = { id: string; name: string; /** Package name below `@node-llama-cpp/`. */ builds: readonly string[]; /** Null: it runs wherever the library does. */ kind: TriedVariant['kind'] | null; needs: () => Need | null };
/** What the machine lacks for a build that is there; `remedy` null where nothing helps. */
type Need = { missing: string; remedy: string | null };

const platform = `${process.platform === 'darwin' ? 'mac' : process.platform === 'win32' ? 'win' : process.platform}-${process.arch === 'arm' ? 'armv7l' : process.arch}`;

/** In the order in which the library prefers them. */
const variants: readonly Variant[] = [
  { id: 'embedded-metal', name: 'llama.cpp embedded, Metal', builds: ['mac-arm64-metal'], kind: 'metal', needs: () => null },
  { id: 'embedded-cuda', name: 'llama.cpp embedded, CUDA', builds: [`${platform}-cuda`], kind: 'cuda', needs: nvidiaNeed },
  { id: 'embedded-vulkan', name: 'llama.cpp embedded, Vulkan', builds: [`${platform}-vulkan`], kind: 'vulkan', needs: vulkanNeed },
  { id: 'embedded-cpu', name: 'llama.cpp embedded, processor', builds: [platform, 'mac-arm64-metal'], kind: null, needs: () => null },
];

/** Those that `node-llama-cpp` has a ready build of for this platform. */
const builtVariants: ReadonlySet<string> = new Set([
  'linux-x64', 'linux-x64-cuda', 'linux-x64-vulkan', 'linux-arm64', 'linux-armv7l', 'linux-riscv64', 'mac-arm64-metal', 'mac-x64', 'win-x64', 'win-x64-cuda', 'win-x64-vulkan', 'win-arm64',
]);

/** Version of the library and of the llama.cpp in it; null when it is not installed. */
export function embeddedVersion(): string | null {
  const file = packageFile('node-llama-cpp');
  if (file === null) return null;
  const own = readField(file, 'version');
  const release = readField(join(dirname(file), 'llama', 'llama.cpp.info.json'), 'tag');
  return release === null ? own : `${own ?? 'unknown'} (llama.cpp ${release})`;
}

/**
 * The builds of the embedded engine for this platform. Looks for files first; what should run by those is tried, in a
 * process of its own: loading the native code into the service to ask it would cost memory for good, and a driver that
 * crashes would take the service along. `lacks`: what the machine lacks for a build, for tests.
 */
export async function embeddedEngines(trials: VariantTrials, lacks = (variant: Pick<Variant, 'needs'>): Need | null => variant.needs()): Promise<EngineInfo[]> {
  const version = embeddedVersion();
  const ours = variants.filter(({ builds }) => builds.some((build) => isOfThisPlatform(build)));
  const all = await Promise.all(ours.map((variant) => tried(variant, toEngine(variant, version, lacks), trials)));
  const best = all.find((engine) => engine.available);
  return all.map((engine) => ({ ...engine, inUse: engine === best }));
}

const isOfThisPlatform = (build: string): boolean => builtVariants.has(build) && build.startsWith(platform);

async function tried({ kind, builds }: Variant, engine: EngineInfo, trials: VariantTrials): Promise<EngineInfo> {
  const build = builds.find((name) => packageFile(`@node-llama-cpp/${name}`) !== null);
  if (!engine.available || kind === null || build === undefined) return engine;
  const trial = await trials.of({ kind, packageName: `@node-llama-cpp/${build}` });
  if (trial.loads && trial.devices.length > 0) return { ...engine, detail: trial.devices.join(', ') };
  const detail = trial.loads ? 'It loads, but finds no graphics card.' : `It is installed but does not load here: ${trial.reason}.`;
  return { ...engine, available: false, detail, remedy: trial.loads ? null : 'Install or update the driver of the graphics card.' };
}

function toEngine(variant: Variant, version: string | null, lacks: (variant: Variant) => Need | null): EngineInfo {
  const { id, name, builds } = variant;
  const found = { id, name, inUse: false, version };
  const isInstalled = version !== null && builds.some((build) => packageFile(`@node-llama-cpp/${build}`) !== null);
  if (!isInstalled) return { ...found, available: false, detail: 'Its build is not installed.', remedy: 'Install llm-manager with its optional dependencies: npm install --include=optional.' };
  const need = lacks(variant);
  return need === null ? { ...found, available: true, detail: null, remedy: null } : { ...found, available: false, detail: need.missing, remedy: need.remedy };
}

function nvidiaNeed(): Need | null {
  if (process.platform === 'linux' && !existsSync('/dev/nvidiactl') && !existsSync('/dev/dxg')) return { missing: 'There is no NVIDIA graphics card, or its driver is not loaded.', remedy: null };
  if (hasLibrary(/^(libcuda\.so|nvcuda\.dll)/)) return null;
  return { missing: 'The CUDA driver library is not installed.', remedy: 'Install the NVIDIA driver with its compute libraries (libcuda).' };
}

function vulkanNeed(): Need | null {
  const hasCard = process.platform !== 'linux' || existsSync('/dev/dri') || existsSync('/dev/nvidiactl') || existsSync('/dev/dxg');
  if (!hasCard) return { missing: 'There is no graphics card.', remedy: null };
  if (hasLibrary(/^(libvulkan\.so|vulkan-1\.dll)/)) return null;
  return { missing: 'The Vulkan loader is not installed.', remedy: 'Install the Vulkan loader (libvulkan1 or vulkan-loader) and the driver of the card.' };
}

function hasLibrary(pattern: RegExp): boolean {
  const triplet = process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu';
  const fixed = process.platform === 'win32' ? [join(process.env['SystemRoot'] ?? 'C:\\Windows', 'System32')] : ['/usr/lib', '/usr/lib64', '/lib', '/lib64', `/usr/lib/${triplet}`, `/lib/${triplet}`, '/usr/local/lib', '/usr/local/cuda/lib64', '/usr/local/nvidia/lib64', '/usr/lib/wsl/lib'];
  const own = (process.env['LD_LIBRARY_PATH'] ?? '').split(':').filter((folder) => folder !== '');
  return [...own, ...fixed].some((folder) => namesIn(folder).some((name) => pattern.test(name)));
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function packageFile(name: string): string | null {
  // The builds are dependencies of the library, wherever a package manager has put them.
  const library = safely(() => findPackageJSON('node-llama-cpp', import.meta.url));
  if (library === null || name === 'node-llama-cpp') return library;
  return safely(() => findPackageJSON(name, library)) ?? safely(() => findPackageJSON(name, import.meta.url));
}

function safely(find: () => string | undefined): string | null {
  try {
    return find() ?? null;
  } catch {
    return null;
  }
}

function readField(file: string, field: string): string | null {
  try {
    const value = (JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>)[field];
    return typeof value === 'string' ? value : null;
  } catch {
    return null;
  }
}
