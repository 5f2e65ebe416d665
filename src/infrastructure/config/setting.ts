import type { z } from 'zod';

/** What defaults are made from. */
export type DefaultContext = { env: Readonly<Record<string, string | undefined>>; home: string; platform: NodeJS.Platform; isRoot: boolean };

export type Setting<T> = {
  /** Place in the YAML file and in `Config`'s origins, e.g. `server.port`. */
  path: string;
  /** The environment's name for it; each is accepted in `.env` too. */
  env?: string;
  /** The command line's name for it, without dashes. */
  flag?: string;
  /** Takes what the YAML file may hold as well as the environment's text. */
  schema: z.ZodType<T>;
  default: (context: DefaultContext) => T;
  /** The default in words, for the reference. */
  defaultText: string;
  description: string;
  /** Its value must not appear in messages. */
  secret?: boolean;
};

export function defineSetting<T>(setting: Setting<T>): Setting<T> {
  return setting;
}
