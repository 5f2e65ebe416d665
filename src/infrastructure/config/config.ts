import type { Endpoint } from './addresses.ts';
import type { Secret } from './secret.ts';
import type { logLevels } from './settings.ts';

/** Where a value came from; `name` is the variable, flag or key that set it. */
export type Origin = { from: 'flag' | 'environment' | '.env' | 'file' | 'default'; name: string };

/** Everything that can be set, parsed once and frozen. */
export type Config = {
  readonly server: {
    readonly host: string;
    readonly port: number;
    readonly publicUrls: readonly string[];
    readonly allowedOrigins: readonly string[];
  };
  readonly access: { readonly adminKey: Secret | null; readonly audit: { readonly days: number; readonly entriesMax: number } };
  readonly data: { readonly dir: string; readonly modelsDir: string };
  readonly sources: {
    readonly huggingface: { readonly endpoint: string; readonly token: Secret | null; readonly cacheDir: string };
    readonly ollama: { readonly host: string; readonly registry: string; readonly library: string };
  };
  readonly downloads: {
    readonly parallel: number;
    readonly parallelPerSource: number | null;
    readonly connectionsPerHost: number;
    readonly maxBytesPerSecond: number | null;
    readonly clamd: Endpoint | null;
  };
  readonly database: { readonly kind: 'embedded' } | { readonly kind: 'postgresql'; readonly url: Secret };
  readonly redis: { readonly kind: 'none' } | { readonly kind: 'redis'; readonly url: Secret };
  /** `images` null = those of the templates. */
  readonly docker: { readonly host: Endpoint; readonly images: readonly string[] | null };
  readonly deployments: {
    readonly llamaServer: { readonly kind: 'search' } | { readonly kind: 'path'; readonly path: string } | { readonly kind: 'off' };
    readonly onStop: 'stop' | 'keep';
  };
  readonly chat: { readonly stopUnreadAfterSeconds: number | null };
  readonly alerts: { readonly webhook: { readonly url: Secret; readonly secret: Secret | null } | null };
  readonly plugins: readonly string[];
  readonly log: { readonly level: (typeof logLevels)[number] };
  /** By the setting's path, e.g. `server.port`. */
  readonly origins: Readonly<Record<string, Origin>>;
};

/** The configuration has faults; the service does not start. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  /** What the process ends with: wrong usage. */
  readonly exitCode = 2;
  /** One line each. */
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(faults.join('\n'));
    this.faults = faults;
  }
}
