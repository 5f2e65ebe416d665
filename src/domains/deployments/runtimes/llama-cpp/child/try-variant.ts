/**
 * Tries whether one build of the embedded engine loads on this machine, in a process of its own: a driver that crashes
 * or hangs takes nothing along. Its argument is the build's kind; it prints one line of JSON (`Trial`) and ends.
 */
import { readdirSync } from 'node:fs';
import { findPackageJSON } from 'node:module';
import { dirname, join } from 'node:path';
import type { Trial } from '../variant-trials.ts';

const [, , kind = '', packageName = ''] = process.argv;

async function tryIt(): Promise<Trial> {
  const library = await import('node-llama-cpp');
  try {
    const gpu = kind === 'cuda' || kind === 'metal' ? kind : 'vulkan';
    const llama = await library.getLlama({ gpu, build: 'never', skipDownload: true, progressLogs: false, logger: () => undefined });
    return { loads: true, devices: await llama.getGpuDeviceNames() };
  } catch (error) {
    return { loads: false, reason: missingLibrary() ?? (error instanceof Error ? error.message : String(error)) };
  }
}

/** The library tells only that the build does not work; the system's loader tells why. */
function missingLibrary(): string | null {
  const library = findPackageJSON('node-llama-cpp', import.meta.url) ?? import.meta.url;
  const file = findPackageJSON(packageName, library);
  if (file === undefined) return null;
  const bins = join(dirname(file), 'bins');
  const files = readdirSync(bins, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.node') || name.includes(`ggml-${kind}`));
  const faults = files.toSorted((a, b) => Number(b.endsWith('.node')) - Number(a.endsWith('.node'))).map((name) => loaderFault(join(bins, name)));
  return faults.find((fault) => fault !== null) ?? null;
}

function loaderFault(path: string): string | null {
  try {
    process.dlopen({ exports: {} }, path);
    return null;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    // A library that is there but is no module of Node's: it has been loaded.
    return message.includes('did not self-register') ? null : message;
  }
}

const trial = await tryIt();
process.stdout.write(`${JSON.stringify(trial)}\n`, () => process.exit(0));
