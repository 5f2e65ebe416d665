import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { parseDocument } from 'yaml';
import type { Origin } from './config.ts';
import { nearestName } from './nearest.ts';
import type { Setting } from './setting.ts';
import { clientVariables, settings } from './settings.ts';

/** The raw values of one place, by the setting's path. */
export type ConfigSource = { from: Origin['from']; values: ReadonlyMap<string, { name: string; value: unknown }> };

export type Faults = string[];

const ownPrefix = 'LLM_MANAGER_';
// A type that forgets each setting's own value: sources only carry raw values.
const allSettings: readonly Setting<unknown>[] = Object.values(settings);

export function readFlags(flags: Readonly<Record<string, unknown>>): ConfigSource {
  const values = new Map<string, { name: string; value: unknown }>();
  for (const { flag, path } of allSettings) {
    if (!flag) continue;
    const value = flags[flag] ?? flags[toCamelCase(flag)];
    if (value !== undefined) values.set(path, { name: `--${flag}`, value });
  }
  return { from: 'flag', values };
}

/** Names of ours that nobody knows are faults; others' names are none of our business. An empty value counts as none. */
export function readEnvironment(from: 'environment' | '.env', env: Readonly<Record<string, string | undefined>>, faults: Faults): ConfigSource {
  const values = new Map<string, { name: string; value: unknown }>();
  for (const { env: name, path } of allSettings) {
    const value = name === undefined ? undefined : env[name];
    if (name !== undefined && value !== undefined && value !== '') values.set(path, { name, value });
  }
  const known = new Set([...allSettings.flatMap((setting) => setting.env ?? []), ...clientVariables]);
  for (const name of Object.keys(env)) {
    if (name.startsWith(ownPrefix) && !known.has(name)) faults.push(`${name} (${from}): is not known${suggestion(name, known)}`);
  }
  return { from, values };
}

export function readDotEnv(cwd: string): Readonly<Record<string, string | undefined>> {
  const text = readTextFile(join(cwd, '.env'));
  return text === null ? {} : parseEnv(text);
}

/** `required`: the file was named by the caller, so its absence is a fault. */
export function readConfigFile(path: string, required: boolean, faults: Faults): ConfigSource {
  const values = new Map<string, { name: string; value: unknown }>();
  const source: ConfigSource = { from: 'file', values };
  try {
    const text = readTextFile(path);
    if (text === null && required) faults.push(`${path}: there is no such file`);
    const root = text === null ? null : parseYaml(text);
    if (root instanceof Map) collect(root, { prefix: '', file: path, values, faults });
    else if (root !== null && root !== undefined) faults.push(`${path}: must be a mapping of names to values`);
  } catch (error) {
    faults.push(`${path}: cannot be read: ${((error as Error).message.split('\n')[0] ?? '').replace(/:$/, '')}`);
  }
  return source;
}

function parseYaml(text: string): unknown {
  const document = parseDocument(text, { uniqueKeys: true });
  if (document.errors[0]) throw document.errors[0];
  // Maps, so that a key such as __proto__ stays a key.
  return document.toJS({ mapAsMap: true, maxAliasCount: 100 });
}

type Collected = { prefix: string; file: string; values: Map<string, { name: string; value: unknown }>; faults: Faults };

function collect(map: ReadonlyMap<unknown, unknown>, into: Collected): void {
  const paths = allSettings.map((setting) => setting.path);
  for (const [key, value] of map) {
    const path = `${into.prefix}${String(key)}`;
    if (paths.includes(path)) {
      if (value !== null) into.values.set(path, { name: `${path} in ${into.file}`, value });
    } else if (value instanceof Map && paths.some((known) => known.startsWith(`${path}.`))) {
      collect(value, { ...into, prefix: `${path}.` });
    } else {
      into.faults.push(`${into.file}: ${path} is not known${suggestion(path, namesAtEveryLevel(paths))}`);
    }
  }
}

function namesAtEveryLevel(paths: readonly string[]): Set<string> {
  return new Set(paths.flatMap((path) => path.split('.').map((_, index, parts) => parts.slice(0, index + 1).join('.'))));
}

function suggestion(name: string, known: Iterable<string>): string {
  const nearest = nearestName(name, known);
  return nearest === null ? '' : `; did you mean ${nearest}?`;
}

function readTextFile(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw error;
  }
}

function toCamelCase(name: string): string {
  return name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
