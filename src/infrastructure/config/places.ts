import { isAbsolute, join, resolve } from 'node:path';
import type { DefaultContext } from './setting.ts';

const ownFolder = 'llm-manager';

/** Where this platform keeps the data of programs. */
export function defaultDataDir({ env, home, platform, isRoot }: DefaultContext): string {
  // root's own home is closed to the user that the embedded PostgreSQL runs as.
  if (isRoot) return join('/var/lib', ownFolder);
  if (platform === 'darwin') return join(home, 'Library', 'Application Support', ownFolder);
  const xdg = env['XDG_DATA_HOME'];
  return join(xdg && isAbsolute(xdg) ? xdg : join(home, '.local', 'share'), ownFolder);
}

/** The folder of Hugging Face's tools where HF_HOME does not say otherwise. */
export function defaultHubHome({ env, home }: DefaultContext): string {
  const xdg = env['XDG_CACHE_HOME'];
  return join(xdg ? expandHome(xdg, home) : join(home, '.cache'), 'huggingface');
}

export function expandHome(path: string, home: string): string {
  return path === '~' || path.startsWith('~/') ? join(home, path.slice(1)) : path;
}

/** Relative paths count from `base`. */
export function absolutePath(path: string, home: string, base: string): string {
  return resolve(base, expandHome(path, home));
}
