import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { findPackageJSON } from 'node:module';
import { dirname, join } from 'node:path';
import type { EngineInfo } from '../../types.ts';

type Variant = { id: string; name: string; /** Package name below `@node-llama-cpp/`. */ builds: readonly string[]; needs: () => Need | null };
/** What the machine lacks for a build that is there; `remedy` null where nothing helps. */
type Need = { missing: string; remedy: string | null };

const platform = `${process.platform === 'darwin' ? 'mac' : process.platform === 'win32' ? 'win' : process.platform}-${process.arch === 'arm' ? 'armv7l' : process.arch}`;

/** In the order in which the library prefers them. */
const variants: readonly Variant[] = [
  { id: 'embedded-metal', name: 'llama.cpp embedded, Metal', builds: ['mac-arm64-metal'], needs: () => null },
  { id: 'embedded-cuda', name: 'llama.cpp embedded, CUDA', builds: [`${platform}-cuda`], needs: nvidiaNeed },
  { id: 'embedded-vulkan', name: 'llama.cpp embedded, Vulkan', builds: [`${platform}-vulkan`], needs: vulkanNeed },
  { id: 'embedded-cpu', name: 'llama.cpp embedded, processor', builds: [platform, 'mac-arm64-metal'], needs: () => null },
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
 * The builds of the embedded engine for this platform. Looks for files only: loading the native code into the service
 * to ask it would cost memory for good, and a driver that crashes would take the service along.
 */
export function embeddedEngines(): EngineInfo[] {
  const version = embeddedVersion();
  const all = variants.flatMap((variant) => (variant.builds.some((build) => isOfThisPlatform(build)) ? [toEngine(variant, version)] : []));
  const best = all.find((engine) => engine.available);
  return all.map((engine) => ({ ...engine, inUse: engine === best }));
}

const isOfThisPlatform = (build: string): boolean => builtVariants.has(build) && build.startsWith(platform);

function toEngine({ id, name, builds, needs }: Variant, version: string | null): EngineInfo {
  const found = { id, name, inUse: false, version };
  const isInstalled = version !== null && builds.some((build) => packageFile(`@node-llama-cpp/${build}`) !== null);
  if (!isInstalled) return { ...found, available: false, detail: 'Its build is not installed.', remedy: 'Install llm-manager with its optional dependencies: npm install --include=optional.' };
  const need = needs();
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
