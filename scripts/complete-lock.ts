/**
 * Adds to package-lock.json the optional packages of other platforms that the registry in use did not have when the
 * lock was written: npm leaves those out, and `npm ci` then refuses the lock. Run after every `npm install`.
 * See docs/decisions/0004-a-lock-for-all-platforms.md.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

type Entry = { version?: string; dev?: boolean; optional?: boolean; os?: string[]; cpu?: string[]; optionalDependencies?: Record<string, string> };
type Lock = { packages: Record<string, Entry> };

const file = fileURLToPath(new URL('../package-lock.json', import.meta.url));

/** What the names of platform packages say; without it npm would try to install them here. */
const systems: readonly (readonly [RegExp, string])[] = [
  [/darwin|[/-]mac-/, 'darwin'],
  [/win32|[/-]win-/, 'win32'],
  [/android/, 'android'],
  [/freebsd/, 'freebsd'],
  [/openharmony/, 'openharmony'],
  [/linux/, 'linux'],
];
const processors = ['arm64', 'x64', 'ia32', 'ppc64', 's390x', 'riscv64', 'loong64', 'arm'] as const;

function platformOf(name: string): Pick<Entry, 'os' | 'cpu'> {
  const os = systems.find(([pattern]) => pattern.test(name))?.[1];
  const cpu = processors.find((processor) => name.includes(processor));
  if (os === undefined || cpu === undefined) throw new Error(`${name}: no platform can be read from the name; add it by hand`);
  return { os: [os], cpu: [cpu] };
}

/** Whether some folder from the package's own outwards has it, as Node would look for it. */
function isLocked(packages: Lock['packages'], from: string, name: string): boolean {
  for (let folder = from; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/node_modules/')))) {
    if (Object.hasOwn(packages, path.posix.join(folder, 'node_modules', name))) return true;
    if (folder === '' || !folder.includes('/node_modules/')) return Object.hasOwn(packages, `node_modules/${name}`);
  }
}

const lock = JSON.parse(readFileSync(file, 'utf8')) as Lock;
let added = 0;
for (const [folder, { dev, optionalDependencies = {} }] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(optionalDependencies)) {
    if (isLocked(lock.packages, folder, name)) continue;
    if (!/^\d+\.\d+\.\d+/.test(version)) throw new Error(`${name}: ${version} is no exact version; add it by hand`);
    lock.packages[`node_modules/${name}`] = { version, ...platformOf(name), ...(dev === true && { dev }), optional: true };
    added += 1;
  }
}
const [root, ...rest] = Object.entries(lock.packages);
const sorted = rest.sort(([left], [right]) => left.localeCompare(right, 'en'));
lock.packages = Object.fromEntries(root ? [root, ...sorted] : sorted);
if (added > 0) writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
console.log(`${added} packages added`);
