import { homedir } from 'node:os';
import { join } from 'node:path';
import { ConfigError } from './config.ts';
import type { Config, Origin } from './config.ts';
import { readConfigFile, readDotEnv, readEnvironment, readFlags } from './config-sources.ts';
import type { ConfigSource, Faults } from './config-sources.ts';
import { absolutePath } from './places.ts';
import { Secret } from './secret.ts';
import type { DefaultContext, Setting } from './setting.ts';
import { settings } from './settings.ts';

export type LoadConfigOptions = {
  /** What the command line gave, by flag name (`data-dir` or `dataDir`); other names are ignored. `config` names the YAML file. */
  flags: Readonly<Record<string, unknown>>;
  env: Readonly<Record<string, string | undefined>>;
  cwd: string;
};

type Values = { [Name in keyof typeof settings]: (typeof settings)[Name] extends Setting<infer T> ? T : never };

/**
 * Reads the whole configuration: flags, then environment, then `.env`, then the YAML file, then defaults. Throws
 * ConfigError with every fault there is.
 */
export function loadConfig({ flags, env, cwd }: LoadConfigOptions): Config {
  const faults: Faults = [];
  const dotEnv = readDotEnv(cwd);
  const context: DefaultContext = {
    env: { ...dotEnv, ...env },
    home: env['HOME'] ?? homedir(),
    platform: process.platform,
    isRoot: process.getuid?.() === 0,
  };
  const named = [readFlags(flags), readEnvironment('environment', env, faults), readEnvironment('.env', dotEnv, faults)];
  const file = readFile({ flags, cwd, context, sources: named, faults });
  const resolver = new Resolver([...named, file], context, faults);
  const values = resolver.resolveAll();
  if (faults.length > 0) throw new ConfigError(faults);
  return deepFreeze(toConfig(values, resolver.origins, { home: context.home, cwd }));
}

type FileOptions = { flags: Readonly<Record<string, unknown>>; cwd: string; context: DefaultContext; sources: readonly ConfigSource[]; faults: Faults };

/** The file that `--config` names, else the data folder's own; the latter cannot say where the data folder is. */
function readFile({ flags, cwd, context, sources, faults }: FileOptions): ConfigSource {
  const given = flags['config'];
  if (typeof given === 'string') return readConfigFile(absolutePath(given, context.home, cwd), true, faults);
  // Faults of this look ahead are found again, and told, by the full one.
  const dataDir = new Resolver(sources, context, []).resolve(settings.dataDir);
  const path = join(absolutePath(dataDir, context.home, cwd), 'config.yaml');
  const source = readConfigFile(path, false, faults);
  if (source.values.has(settings.dataDir.path)) faults.push(`${path}: ${settings.dataDir.path} cannot be set in the data folder's own file; use --data-dir, LLM_MANAGER_DATA_DIR or --config`);
  return source;
}

/** A name and a password before an `@` are not for a terminal or a log, wherever they were put. */
function hasCredentials(value: unknown): boolean {
  return /\/\/[^/]*@/.test(JSON.stringify(value));
}

class Resolver {
  readonly origins: Record<string, Origin> = {};
  readonly #sources: readonly ConfigSource[];
  readonly #context: DefaultContext;
  readonly #faults: Faults;

  constructor(sources: readonly ConfigSource[], context: DefaultContext, faults: Faults) {
    this.#sources = sources;
    this.#context = context;
    this.#faults = faults;
  }

  resolve<T>(setting: Setting<T>): T {
    for (const { from, values } of this.#sources) {
      const found = values.get(setting.path);
      if (!found) continue;
      const parsed = setting.schema.safeParse(found.value);
      this.origins[setting.path] = { from, name: found.name };
      if (parsed.success) return parsed.data;
      const shown = setting.secret || hasCredentials(found.value) ? '' : `, not ${JSON.stringify(found.value)}`;
      this.#faults.push(`${found.name} (${from}): ${parsed.error.issues[0]?.message ?? 'is not valid'}${shown}`);
      return setting.default(this.#context);
    }
    this.origins[setting.path] = { from: 'default', name: setting.defaultText };
    return setting.default(this.#context);
  }

  resolveAll(): Values {
    const entries = Object.entries(settings).map(([name, setting]) => [name, this.resolve(setting as Setting<unknown>)]);
    // Each value has its own setting's type by construction; Object.entries forgets which belongs to which.
    return Object.fromEntries(entries) as Values;
  }
}

function toConfig(values: Values, origins: Readonly<Record<string, Origin>>, { home, cwd }: { home: string; cwd: string }): Config {
  const dir = absolutePath(values.dataDir, home, cwd);
  const place = (path: string): string => absolutePath(path, home, cwd);
  return {
    server: { host: values.host, port: values.port, publicUrls: values.publicUrls, allowedOrigins: values.allowedOrigins },
    access: { adminKey: values.adminKey, audit: { days: values.auditDays, entriesMax: values.auditEntriesMax } },
    data: { dir, modelsDir: values.modelsDir === null ? join(dir, 'models') : place(values.modelsDir) },
    sources: {
      huggingface: {
        endpoint: values.hubEndpoint,
        token: values.hubToken,
        cacheDir: values.hubCache === null ? join(place(values.hubHome), 'hub') : place(values.hubCache),
      },
      ollama: { host: values.ollamaHost, registry: values.ollamaRegistry, library: values.ollamaLibrary },
    },
    downloads: {
      parallel: values.downloadsParallel,
      parallelPerSource: values.downloadsParallelPerSource,
      connectionsPerHost: values.downloadConnections,
      maxBytesPerSecond: values.downloadMaxBytesPerSecond,
      clamd: values.clamd,
    },
    database: values.databaseUrl ? { kind: 'postgresql', url: values.databaseUrl } : { kind: 'embedded' },
    redis: values.redisUrl ? { kind: 'redis', url: values.redisUrl } : { kind: 'none' },
    docker: { host: values.dockerHost, images: values.dockerImages },
    deployments: { llamaServer: toLlamaServer(values.llamaServer, place), onStop: values.onStop },
    chat: { stopUnreadAfterSeconds: values.stopUnreadAfterSeconds },
    alerts: { webhook: values.alertWebhookUrl && { url: values.alertWebhookUrl, secret: values.alertWebhookSecret } },
    // Paths as such, names of packages as they are.
    plugins: values.plugins.map((module) => (/^(?:\.{1,2}|~)?\//.test(module) ? place(module) : module)),
    log: { level: values.logLevel },
    origins,
  };
}

function toLlamaServer(value: string | null, place: (path: string) => string): Config['deployments']['llamaServer'] {
  if (value === null) return { kind: 'search' };
  return value.toLowerCase() === 'off' ? { kind: 'off' } : { kind: 'path', path: place(value) };
}

function deepFreeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) {
    if (typeof part === 'object' && part !== null && !(part instanceof Secret)) deepFreeze(part);
  }
  return Object.freeze(value);
}
