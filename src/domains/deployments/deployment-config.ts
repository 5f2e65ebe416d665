import * as z from 'zod';
import type { FieldFault } from '../../shared/errors.ts';
import { defaultHealthPolicy } from './health.ts';
import { defaultRestartPolicy } from './restart-policy.ts';
import type { ModelRuntime } from './runtime.ts';
import { snakeCase } from '../../shared/json-case.ts';
import type { DeploymentConfig, HealthPolicy, RestartPolicy } from './types.ts';

const environmentNamePattern = /^[A-Z_][A-Z0-9_]{0,127}$/;

/**
 * Names that make a program load code, run another one or send its traffic elsewhere. No runtime gets them; each
 * runtime narrows further to the few that it has a use for.
 */
const forbiddenEnvironment: readonly RegExp[] = [
  /^(LD_|DYLD_|NODE_|NPM_|PYTHON|PERL|RUBY|JAVA|JDK_|GIT_|BASH|ZDOTDIR|GCONV|LOCPATH|NLSPATH|MALLOC_|GLIBC_|SSL_|CURL_|OPENSSL_|OMP_TOOL|LLM_MANAGER|DOCKER_|AWS_)/,
  /^(PATH|HOME|SHELL|ENV|IFS|PS4|TMPDIR|TEMP|TMP|USER|LOGNAME|TERM|TERMINFO|EDITOR|PAGER|DATABASE_URL|REDIS_URL|HF_TOKEN|GGML_BACKEND_PATH)$/,
  /_(PROXY|PRELOAD|LIBRARY_PATH|LIBRARIES|PLUGIN_PATH)$/,
];

/** One line, so that it cannot pose as a second variable where a file of `NAME=value` lines is made of it. */
const environmentValue = z.string().max(4096).regex(/^[^\0\r\n]*$/, 'must be one line').refine((text) => text.isWellFormed(), 'must not contain broken characters');

const configSchema = z.strictObject({
  port: z.int().min(0).max(65_535).refine((port) => port === 0 || port >= 1024, 'must be 0 (any free one) or 1024 to 65535').optional(),
  gpuDevices: z.array(z.string().regex(/^[A-Za-z0-9_:.-]{1,100}$/, 'must be a device number or id')).max(64).optional(),
  gpuLayers: z.int().min(0).max(10_000).optional(),
  contextSize: z.int().min(64).max(16_777_216).optional(),
  threads: z.int().min(1).max(1024).optional(),
  parallel: z.int().min(1).max(256).optional(),
  memoryLimitBytes: z.int().min(16_777_216).optional(),
  cpuLimit: z.number().min(0.01).max(4096).optional(),
  keepAliveSeconds: z.int().min(-1).max(31_536_000).optional(),
  environment: z.record(z.string(), environmentValue).optional(),
  image: z.string().min(1).max(300).optional(),
  extraArgs: z.array(z.string().max(1000).regex(/^[^\0\r\n]*$/, 'must be one line')).max(100).optional(),
  health: z
    .strictObject({
      intervalSeconds: z.number().min(1).max(3600).optional(),
      timeoutSeconds: z.number().min(0.1).max(600).optional(),
      failures: z.int().min(1).max(100).optional(),
      generationIntervalSeconds: z.number().min(1).max(86_400).nullable().optional(),
    })
    .optional(),
  restart: z
    .strictObject({ policy: z.enum(['always', 'on_failure', 'never']).optional(), maxRetries: z.int().min(0).max(100).optional() })
    .optional(),
  baseUrl: z.string().min(1).max(2000).optional(),
  model: z.string().min(1).max(300).optional(),
});

/** Every fault of the config at once: its own shape and ranges first, then what `runtime` cannot honour. */
export function configFaults(config: DeploymentConfig, runtime: ModelRuntime): FieldFault[] {
  const parsed = configSchema.safeParse(config);
  const faults = parsed.success ? [] : parsed.error.issues.map(toFault);
  faults.push(...environmentFaults(config.environment));
  const known = new Set(faults.map((fault) => fault.field));
  faults.push(...runtime.validate(config).filter((fault) => !known.has(fault.field)));
  return faults;
}

function toFault(issue: z.core.$ZodIssue): FieldFault {
  const path = ['config', ...issue.path.map((part) => plainName(String(part)))].join('.');
  if (issue.code === 'unrecognized_keys') return { field: `${path}.${plainName(issue.keys[0] ?? '')}`, message: 'is not known' };
  return { field: path, message: issue.message };
}

function plainName(name: string): string {
  // Environment names are the user's own and stay as they are.
  return /^[A-Z0-9_]+$/.test(name) ? name : snakeCase(name);
}

function environmentFaults(environment: unknown): FieldFault[] {
  if (typeof environment !== 'object' || environment === null) return [];
  const names = Object.keys(environment);
  if (names.length > 64) return [{ field: 'config.environment', message: 'may hold 64 names at most' }];
  return names.flatMap((name) => {
    if (!environmentNamePattern.test(name)) return [{ field: 'config.environment', message: `the name ${JSON.stringify(name.slice(0, 64))} must match [A-Z_][A-Z0-9_]*` }];
    if (forbiddenEnvironment.some((pattern) => pattern.test(name))) return [{ field: `config.environment.${name}`, message: 'may not be set for a model' }];
    return [];
  });
}

/** The operator's settings over the runtime's defaults over ours. */
export function healthPolicyOf(config: DeploymentConfig, runtime: ModelRuntime): HealthPolicy {
  return { ...defaultHealthPolicy, ...runtime.defaults?.health, ...dropUndefined(config.health) };
}

export function restartPolicyOf(config: DeploymentConfig, runtime: ModelRuntime): RestartPolicy {
  return { ...defaultRestartPolicy, ...runtime.defaults?.restart, ...dropUndefined(config.restart) };
}

/** Given fields replace stored ones; the others stay. */
export function mergeConfig(stored: DeploymentConfig, change: DeploymentConfig): DeploymentConfig {
  return { ...stored, ...dropUndefined(change) };
}

function dropUndefined<T extends object>(value: T | undefined): Partial<T> {
  // Object.fromEntries forgets the keys' types, which filtering keeps.
  return Object.fromEntries(Object.entries(value ?? {}).filter(([, item]) => item !== undefined)) as Partial<T>;
}

/** How long it stays loaded without being used; null = until it is stopped, never unloaded to make room. */
export function keepAliveMsOf({ keepAliveSeconds }: DeploymentConfig): number | null {
  return keepAliveSeconds === undefined || keepAliveSeconds < 0 ? null : keepAliveSeconds * 1000;
}
