import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { parseOllamaHost } from '../../../src/infrastructure/config/addresses.ts';
import { ConfigError } from '../../../src/infrastructure/config/config.ts';
import type { Config } from '../../../src/infrastructure/config/config.ts';
import { loadConfig } from '../../../src/infrastructure/config/load-config.ts';
import { renderConfigSchema, renderEnvExample } from '../../../src/infrastructure/config/reference.ts';

let cwd: string;
let env: Record<string, string>;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'llmm-test-config-'));
  env = { HOME: '/home/someone', LLM_MANAGER_DATA_DIR: join(cwd, 'data') };
});
afterEach(() => rmSync(cwd, { recursive: true }));

function load(extra: Record<string, string | undefined> = {}, flags: Record<string, unknown> = {}): Config {
  return loadConfig({ flags, env: { ...env, ...extra }, cwd });
}

function faultsOf(action: () => unknown): readonly string[] {
  try {
    action();
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
  return [];
}

describe('the configuration', () => {
  it('has a default for every value', () => {
    expect(load()).toMatchObject({
      server: { host: '127.0.0.1', port: 4747, publicUrls: [], allowedOrigins: [] },
      data: { dir: join(cwd, 'data'), modelsDir: join(cwd, 'data', 'models') },
      sources: {
        huggingface: { endpoint: 'https://huggingface.co', token: null, cacheDir: '/home/someone/.cache/huggingface/hub' },
        ollama: { host: 'http://127.0.0.1:11434', registry: 'https://registry.ollama.ai', library: 'https://ollama.com' },
      },
      downloads: { parallel: 3, connectionsPerHost: 16, maxBytesPerSecond: null, clamd: null },
      database: { kind: 'embedded' },
      redis: { kind: 'none' },
      docker: { host: { kind: 'socket', path: '/var/run/docker.sock' }, images: null },
      deployments: { llamaServer: { kind: 'search' }, onStop: 'stop' },
      plugins: [],
      log: { level: 'info' },
    });
  });

  it('takes flags before the environment, that before .env, that before the file', () => {
    const yaml = join(cwd, 'own.yaml');
    writeFileSync(yaml, 'server: {host: file.example, port: 1}\ndownloads: {parallel: 9, connectionsPerHost: 2}\n');
    writeFileSync(join(cwd, '.env'), 'LLM_MANAGER_HOST=dotenv.example\nLLM_MANAGER_DOWNLOADS_PARALLEL=8\nLLM_MANAGER_PORT=2\n');
    const config = load({ LLM_MANAGER_PORT: '3', LLM_MANAGER_HOST: 'env.example' }, { host: 'flag.example', config: yaml });
    expect(config.server).toMatchObject({ host: 'flag.example', port: 3 });
    expect(config.downloads).toMatchObject({ parallel: 8, connectionsPerHost: 2 });
    expect(config.origins['server.host']).toEqual({ from: 'flag', name: '--host' });
    expect(config.origins['server.port']).toEqual({ from: 'environment', name: 'LLM_MANAGER_PORT' });
    expect(config.origins['downloads.parallel']).toEqual({ from: '.env', name: 'LLM_MANAGER_DOWNLOADS_PARALLEL' });
    expect(config.origins['downloads.connectionsPerHost']?.from).toBe('file');
    expect(config.origins['log.level']?.from).toBe('default');
  });

  it("reads the data folder's own config.yaml, which cannot move the data folder", () => {
    rmSync(join(cwd, 'data'), { recursive: true, force: true });
    const flags = { 'data-dir': cwd };
    writeFileSync(join(cwd, 'config.yaml'), 'log:\n  level: debug\nplugins: [./a.ts, "@b/c"]\n');
    expect(load({}, flags)).toMatchObject({ log: { level: 'debug' }, plugins: [join(cwd, 'a.ts'), '@b/c'] });
    writeFileSync(join(cwd, 'config.yaml'), 'data: {dir: /elsewhere}\n');
    expect(faultsOf(() => load({}, flags))).toEqual([expect.stringContaining('data.dir cannot be set in')]);
  });

  it('tells every fault at once, one line each, with the nearest known name and no secret', () => {
    const yaml = join(cwd, 'own.yaml');
    writeFileSync(yaml, 'sever: {port: 1}\ndownloads: {paralel: 3}\n__proto__: {polluted: true}\n');
    const faults = faultsOf(() =>
      load(
        {
          LLM_MANAGER_PROT: '1',
          LLM_MANAGER_PORT: '99999',
          LLM_MANAGER_DOWNLOADS_PARALLEL: 'many',
          LLM_MANAGER_LOG_LEVEL: 'loud',
          HF_ENDPOINT: 'ftp://hub',
          HF_TOKEN: 'hf_two words',
          LLM_MANAGER_ADMIN_KEY: 'too-short-pass',
          DATABASE_URL: 'mysql://u:hunter2@h/d',
          LLM_MANAGER_XYZZYQWERT: '1',
        },
        { config: yaml },
      ),
    );
    expect(faults).toEqual([
      'LLM_MANAGER_PROT (environment): is not known; did you mean LLM_MANAGER_PORT?',
      'LLM_MANAGER_XYZZYQWERT (environment): is not known',
      `${yaml}: sever is not known; did you mean server?`,
      `${yaml}: downloads.paralel is not known; did you mean downloads.parallel?`,
      `${yaml}: __proto__ is not known`,
      'LLM_MANAGER_PORT (environment): must be a whole number from 0 to 65535, not "99999"',
      'LLM_MANAGER_ADMIN_KEY (environment): must be 16 to 256 printable characters without spaces',
      'HF_ENDPOINT (environment): must be a URL that begins with http:// or https://, not "ftp://hub"',
      'HF_TOKEN (environment): must be the token alone, without spaces',
      'LLM_MANAGER_DOWNLOADS_PARALLEL (environment): must be a whole number from 1 to 32, not "many"',
      'DATABASE_URL (environment): must be a URL that begins with postgresql:// or postgres://',
      'LLM_MANAGER_LOG_LEVEL (environment): must be one of trace, debug, info, warn, error, fatal, silent, not "loud"',
    ]);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    expect(new ConfigError(faults).exitCode).toBe(2);
  });

  it.each([
    ['a: [', 'flow sequence'],
    ['just text', 'must be a mapping'],
    ['server: {port: 1}\nserver: {port: 2}', 'unique'],
    ['a: &x [1]\nb: *y', 'alias'],
  ])('tells what is wrong with the file %j', (text, words) => {
    const yaml = join(cwd, 'own.yaml');
    writeFileSync(yaml, text);
    expect(faultsOf(() => load({}, { config: yaml })).join('\n')).toMatch(new RegExp(words, 'i'));
  });

  it('refuses a file that was named and is not there', () => {
    expect(faultsOf(() => load({}, { config: 'missing.yaml' }))).toEqual([`${join(cwd, 'missing.yaml')}: there is no such file`]);
  });

  it('accepts the names that only commands read, and ignores empty values', () => {
    expect(load({ LLM_MANAGER_URL: 'http://127.0.0.1:1', LLM_MANAGER_API_KEY: 'k', LLM_MANAGER_PORT: '' }).server.port).toBe(4747);
  });

  it('never shows a secret, however it is printed', () => {
    const secret = 'llmm_an-operators-own-key';
    const config = load({ LLM_MANAGER_ADMIN_KEY: secret, HF_TOKEN: 'hf_secret', DATABASE_URL: 'postgres://u:hunter2@h/d' });
    const shown = `${JSON.stringify(config)} ${inspect(config, { depth: 9 })} ${String(config.access.adminKey)}`;
    expect(shown).not.toMatch(/operators-own|hf_secret|hunter2/);
    expect(config.access.adminKey?.reveal()).toBe(secret);
  });

  it('cannot be changed afterwards', () => {
    const config = load();
    expect(() => Object.assign(config.server, { port: 1 })).toThrow(TypeError);
    expect(() => Object.assign(config.server.publicUrls, ['x'])).toThrow(TypeError);
  });

  it.each([
    [{ HF_HUB_CACHE: '/a', HF_HOME: '/b', XDG_CACHE_HOME: '/c' }, '/a'],
    [{ HF_HOME: '~/b', XDG_CACHE_HOME: '/c' }, '/home/someone/b/hub'],
    [{ XDG_CACHE_HOME: '/c' }, '/c/huggingface/hub'],
  ])("finds the Hub's shared cache for %j", (given: Record<string, string>, expected) => {
    expect(load(given).sources.huggingface.cacheDir).toBe(expected);
  });

  it("uses the platform's data folder, and a place below /var/lib as root", () => {
    const config = load({ LLM_MANAGER_DATA_DIR: undefined, XDG_DATA_HOME: undefined });
    const expected = process.getuid?.() === 0 ? '/var/lib/llm-manager' : process.platform === 'darwin' ? '/home/someone/Library/Application Support/llm-manager' : '/home/someone/.local/share/llm-manager';
    expect(config.data.dir).toBe(expected);
  });

  it.each([
    ['127.0.0.1:11434', 'http://127.0.0.1:11434'],
    ['', 'http://127.0.0.1:11434'],
    [' "1.2.3.4" ', 'http://1.2.3.4:11434'],
    ['example.com', 'http://example.com:11434'],
    [':1234', 'http://127.0.0.1:1234'],
    ['0.0.0.0:80', 'http://127.0.0.1:80'],
    ['http://example.com', 'http://example.com:80'],
    ['https://example.com/base/', 'https://example.com:443/base'],
    ['[::1]:99', 'http://[::1]:99'],
    ['::1', 'http://[::1]:11434'],
    ['[::]', 'http://[::1]:11434'],
    ['example.com:70000', 'http://example.com:11434'],
    ['ollama.com', 'https://ollama.com:443'],
  ])('reads OLLAMA_HOST=%s as Ollama does', (given, expected) => {
    expect(parseOllamaHost(given)).toBe(expected);
  });

  it.each([
    ['DOCKER_HOST', 'unix:///run/d.sock', (config: Config) => config.docker.host, { kind: 'socket', path: '/run/d.sock' }],
    ['DOCKER_HOST', 'tcp://10.0.0.1:2376', (config: Config) => config.docker.host, { kind: 'tcp', host: '10.0.0.1', port: 2376 }],
    ['LLM_MANAGER_CLAMD', 'localhost:3310', (config: Config) => config.downloads.clamd, { kind: 'tcp', host: 'localhost', port: 3310 }],
    ['LLM_MANAGER_CLAMD', '/run/clamd.ctl', (config: Config) => config.downloads.clamd, { kind: 'socket', path: '/run/clamd.ctl' }],
    ['LLM_MANAGER_LLAMA_SERVER', 'OFF', (config: Config) => config.deployments.llamaServer, { kind: 'off' }],
    ['LLM_MANAGER_LLAMA_SERVER', '/opt/llama-server', (config: Config) => config.deployments.llamaServer, { kind: 'path', path: '/opt/llama-server' }],
    ['LLM_MANAGER_DOCKER_IMAGES', 'a/b:1, vllm=ghcr.io/c@sha256:00', (config: Config) => config.docker.images, ['a/b:1', 'vllm=ghcr.io/c@sha256:00']],
    ['LLM_MANAGER_ALLOWED_ORIGINS', 'https://a.example,http://b:1', (config: Config) => config.server.allowedOrigins, ['https://a.example', 'http://b:1']],
  ])('reads %s=%s', (name, value, pick, expected) => {
    expect(pick(load({ [name]: value }))).toEqual(expected);
  });
});

describe('the generated reference', () => {
  const root = join(import.meta.dirname, '..', '..', '..');

  it('is what `node scripts/generate-config-docs.ts` writes', () => {
    expect(readFileSync(join(root, '.env.example'), 'utf8')).toBe(renderEnvExample());
    expect(readFileSync(join(root, 'schema', 'config.schema.json'), 'utf8')).toBe(renderConfigSchema());
  });
});
