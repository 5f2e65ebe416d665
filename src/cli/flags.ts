import { wrongUsage } from './failure.ts';

/** What a command line gave, by option name in camelCase. */
export type Flags = Readonly<Record<string, unknown>>;

export function textFlag(flags: Flags, name: string): string | undefined {
  const value = flags[name];
  return typeof value === 'string' ? value : undefined;
}

export function isSet(flags: Flags, name: string): boolean {
  return flags[name] === true;
}

export function listFlag(flags: Flags, name: string): string[] | undefined {
  const value = flags[name];
  return Array.isArray(value) ? value.map(String) : undefined;
}

export function numberFlag(flags: Flags, name: string): number | undefined {
  const text = textFlag(flags, name);
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw wrongUsage(`--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}: must be a number, not ${text}`);
  return value;
}

export function enumFlag<Value extends string>(flags: Flags, name: string, values: readonly Value[]): Value | undefined {
  const text = textFlag(flags, name)?.toUpperCase();
  if (text === undefined) return undefined;
  const found = values.find((value) => value === text);
  if (!found) throw wrongUsage(`--${name}: must be one of ${values.join(', ').toLowerCase()}`);
  return found;
}
