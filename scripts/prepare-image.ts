/**
 * Takes out of `node_modules` what an image does not need, and makes PostgreSQL's libraries ready, which a user without
 * rights on the image could not: `node scripts/prepare-image.ts [cuda] [vulkan]` in the stage that has installed them.
 */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { findNativeFolder, prepareBinaries } from '../src/infrastructure/database/postgres-binaries.ts';

const modules = path.join(import.meta.dirname, '../node_modules');
const kept = ['', ...process.argv.slice(2)];
const platform = `linux-${process.arch}`;

function remove(name: string): void {
  rmSync(path.join(modules, name), { recursive: true, force: true });
  console.log(`removed ${name}`);
}

/** `linux-x64-cuda-ext` belongs to cuda. */
const isKept = (build: string): boolean => kept.some((variant) => build === [platform, variant].filter(Boolean).join('-') || (variant !== '' && build.startsWith(`${platform}-${variant}-`)));

const builds = readdirSync(path.join(modules, '@node-llama-cpp'));
const unknown = kept.filter((variant) => variant !== '' && !builds.includes(`${platform}-${variant}`));
if (unknown.length > 0) {
  console.error(`There is no engine ${unknown.join(', ')} for ${platform}; there are ${builds.join(', ')}.`);
  process.exit(2);
}
for (const build of builds) if (!isKept(build)) remove(path.join('@node-llama-cpp', build));
// Source to compile llama.cpp from: the image has no compiler.
remove('node-llama-cpp/llama/gitRelease.bundle');
// The image brings its own Node.
for (const name of readdirSync(modules)) if (/^node-(bin-)?(linux|darwin)-/.test(name)) remove(name);
remove('.bin/node');

const native = findNativeFolder();
if (native !== null && existsSync(native)) {
  // As another user: PostgreSQL's programs refuse root.
  await prepareBinaries({ native, copyParent: path.join(tmpdir(), 'postgres-copy'), runAs: { uid: 65534, gid: 65534 } });
  console.log('PostgreSQL can be run');
}
