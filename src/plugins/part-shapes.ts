import { z } from 'zod';
import { modelFormats, modelSorts } from '../domains/catalog/types.ts';
import type { PluginParts } from './plugin.ts';
import { PluginFault } from './plugin-fault.ts';

const id = z.string().regex(/^[a-z][a-z0-9-]{0,31}$/, 'must be a-z, digits and -, at most 32');
const name = z.string().min(1).max(200);
// Only looked at: what is called later is the plug-in's own object, with its own `this`.
const method = z.custom<unknown>((value) => typeof value === 'function', 'must be a function');

const source = z.object({
  id,
  name,
  endpoint: z.string().refine((value) => URL.canParse(value), 'must be a URL'),
  capabilities: z.object({
    sorts: z.partialRecord(z.enum(modelSorts), z.array(z.enum(['asc', 'desc']))),
    formats: z.array(z.enum(modelFormats)),
    store: z.literal('models_dir', 'must be models_dir: only the Hub\'s files belong in the shared cache'),
  }),
  search: method,
  describe: method,
  categories: method,
  locate: method,
  readRange: method,
});

const runtime = z.object({
  id,
  name,
  capabilities: z.object({ needsModel: z.boolean(), formats: z.array(z.string()), adminOnly: z.boolean(), isElsewhere: z.boolean().optional() }),
  probe: method,
  validate: method,
  start: method,
  endOrphan: method,
  adopt: method.optional(),
  endStrays: method.optional(),
  awayReason: method.optional(),
});

const scanner = z.object({ id, version: z.string().regex(/^[\w.-]{1,32}$/, 'must be short and plain, such as 1.0'), accepts: method, scan: method });

const alertChannel = z.object({ id, name, deliver: method });

const parts = z.strictObject({
  sources: z.array(source).optional(),
  runtimes: z.array(runtime).optional(),
  scanners: z.array(scanner).optional(),
  alertChannels: z.array(alertChannel).optional(),
  close: method.optional(),
});

export const pluginShape = z.object({ name: id, setup: method });

/** Throws PluginFault that names the first thing which is not as the ports say. */
export function assertShape(shape: z.ZodType, value: unknown, what: string): void {
  const [issue] = shape.safeParse(value).error?.issues ?? [];
  if (issue) throw new PluginFault(`${what} is not as it must be: ${[issue.path.join('.'), issue.message].filter((text) => text !== '').join(': ')}`);
}

export function assertParts(value: PluginParts): void {
  assertShape(parts, value, 'what it brings');
  const { sources, runtimes, scanners, alertChannels } = value;
  if ([sources, runtimes, scanners, alertChannels].every((list) => !list?.length)) throw new PluginFault('brings no source, runtime, scanner or alert channel');
}
