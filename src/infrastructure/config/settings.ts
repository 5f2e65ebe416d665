import { isOperatorKey } from '../../shared/operator-key.ts';
import { signingKeyOf } from '../../shared/webhook-secret.ts';
import { dockerHost, hostPortOrSocket, ollamaHost } from './addresses.ts';
import type { Endpoint } from './addresses.ts';
import { defaultDataDir, defaultHubHome } from './places.ts';
import type { Secret } from './secret.ts';
import { defineSetting } from './setting.ts';
import { httpUrl, list, oneOf, origin, secretHttpUrl, secretText, secretUrl, text, wholeNumber } from './values.ts';

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

const nothing = 'none';
/** With its kind before it where its name does not tell that. */
const imageName = text().refine((value) => /^([\w.]{1,32}=)?\w[\w.\-/:@]{0,254}$/.test(value), 'must be image names, or KIND=image');
const tokenMessage = 'must be the token alone, without spaces';
const isToken = (value: string): boolean => /^[\x21-\x7e]{1,512}$/.test(value);

/** A key of no bytes would sign for everybody. */
const isWebhookSecret = (value: string): boolean => isOperatorKey(value) && signingKeyOf(value).length >= 16;

/** Every setting of the service. `settings` is the one place that knows their names, ranges and defaults. */
export const settings = {
  host: defineSetting({
    path: 'server.host',
    env: 'LLM_MANAGER_HOST',
    flag: 'host',
    schema: text(),
    default: () => '127.0.0.1',
    defaultText: '127.0.0.1',
    description: 'Address to listen on.',
  }),
  port: defineSetting({
    path: 'server.port',
    env: 'LLM_MANAGER_PORT',
    flag: 'port',
    schema: wholeNumber(0, 65_535),
    default: () => 4747,
    defaultText: '4747',
    description: 'Port to listen on; 0 takes any free one.',
  }),
  publicUrls: defineSetting({
    path: 'server.publicUrls',
    env: 'LLM_MANAGER_PUBLIC_URL',
    schema: list(httpUrl()),
    default: () => [],
    defaultText: nothing,
    description: 'Further URLs under which the service is reached; their host names and origins are accepted.',
  }),
  allowedOrigins: defineSetting({
    path: 'server.allowedOrigins',
    env: 'LLM_MANAGER_ALLOWED_ORIGINS',
    schema: list(origin()),
    default: () => [],
    defaultText: nothing,
    description: 'Further origins of web pages that may call the service.',
  }),
  adminKey: defineSetting<Secret | null>({
    path: 'access.adminKey',
    env: 'LLM_MANAGER_ADMIN_KEY',
    schema: secretText(isOperatorKey, 'must be 16 to 256 printable characters without spaces'),
    default: () => null,
    defaultText: 'made at the first start',
    description: 'The first admin key, for containers.',
    secret: true,
  }),
  auditDays: defineSetting({
    path: 'access.auditDays',
    env: 'LLM_MANAGER_AUDIT_DAYS',
    schema: wholeNumber(1, 3_650),
    default: () => 365,
    defaultText: '365',
    description: 'How many days entries of the audit log are kept.',
  }),
  auditEntriesMax: defineSetting({
    path: 'access.auditEntriesMax',
    env: 'LLM_MANAGER_AUDIT_ENTRIES_MAX',
    schema: wholeNumber(1_000, 10_000_000),
    default: () => 100_000,
    defaultText: '100000',
    description: 'How many entries of the audit log are kept of what was done; of what was refused or failed a tenth of that beside them.',
  }),
  dataDir: defineSetting({
    path: 'data.dir',
    env: 'LLM_MANAGER_DATA_DIR',
    flag: 'data-dir',
    schema: text(),
    default: defaultDataDir,
    defaultText: "the platform's data folder + /llm-manager (as root /var/lib/llm-manager)",
    description: 'Folder of the database, logs, keys and state.',
  }),
  modelsDir: defineSetting<string | null>({
    path: 'data.modelsDir',
    env: 'LLM_MANAGER_MODELS_DIR',
    schema: text(),
    default: () => null,
    defaultText: 'the data folder + /models',
    description: 'Folder of model files from sources that have no shared cache of their own.',
  }),
  hubEndpoint: defineSetting({
    path: 'sources.huggingface.endpoint',
    env: 'HF_ENDPOINT',
    schema: httpUrl(),
    default: () => 'https://huggingface.co',
    defaultText: 'https://huggingface.co',
    description: 'The Hugging Face Hub.',
  }),
  hubToken: defineSetting<Secret | null>({
    path: 'sources.huggingface.token',
    env: 'HF_TOKEN',
    schema: secretText(isToken, tokenMessage),
    default: () => null,
    defaultText: nothing,
    description: "Token for the Hub's gated and private models.",
    secret: true,
  }),
  hubHome: defineSetting({
    path: 'sources.huggingface.home',
    env: 'HF_HOME',
    schema: text(),
    default: defaultHubHome,
    defaultText: '~/.cache/huggingface',
    description: "Folder of Hugging Face's tools; the shared model cache is its hub/.",
  }),
  hubCache: defineSetting<string | null>({
    path: 'sources.huggingface.cacheDir',
    env: 'HF_HUB_CACHE',
    schema: text(),
    default: () => null,
    defaultText: 'HF_HOME + /hub',
    description: 'The shared model cache itself.',
  }),
  ollamaHost: defineSetting({
    path: 'sources.ollama.host',
    env: 'OLLAMA_HOST',
    schema: ollamaHost(),
    default: () => 'http://127.0.0.1:11434',
    defaultText: '127.0.0.1:11434',
    description: "The Ollama server, as Ollama's own tools read it.",
  }),
  ollamaRegistry: defineSetting({
    path: 'sources.ollama.registry',
    env: 'LLM_MANAGER_OLLAMA_REGISTRY',
    schema: httpUrl(),
    default: () => 'https://registry.ollama.ai',
    defaultText: 'https://registry.ollama.ai',
    description: "Ollama's model registry.",
  }),
  ollamaLibrary: defineSetting({
    path: 'sources.ollama.library',
    env: 'LLM_MANAGER_OLLAMA_LIBRARY',
    schema: httpUrl(),
    default: () => 'https://ollama.com',
    defaultText: 'https://ollama.com',
    description: "Ollama's web library, which is searched.",
  }),
  downloadsParallel: defineSetting({
    path: 'downloads.parallel',
    env: 'LLM_MANAGER_DOWNLOADS_PARALLEL',
    schema: wholeNumber(1, 32),
    default: () => 3,
    defaultText: '3',
    description: 'Downloads that run at once.',
  }),
  downloadsParallelPerSource: defineSetting<number | null>({
    path: 'downloads.parallelPerSource',
    env: 'LLM_MANAGER_DOWNLOADS_PARALLEL_PER_SOURCE',
    schema: wholeNumber(1, 32),
    default: () => null,
    defaultText: 'as many as run at once',
    description: 'Downloads from one source (huggingface, ollama) that run at once.',
  }),
  downloadConnections: defineSetting({
    path: 'downloads.connectionsPerHost',
    env: 'LLM_MANAGER_DOWNLOAD_CONNECTIONS',
    schema: wholeNumber(1, 64),
    default: () => 16,
    defaultText: '16',
    description: 'Connections to one host, all downloads together.',
  }),
  downloadMaxBytesPerSecond: defineSetting<number | null>({
    path: 'downloads.maxBytesPerSecond',
    env: 'LLM_MANAGER_DOWNLOAD_MAX_BYTES_PER_SECOND',
    schema: wholeNumber(1, Number.MAX_SAFE_INTEGER),
    default: () => null,
    defaultText: nothing,
    description: 'Limit of speed over all downloads, in bytes per second.',
  }),
  clamd: defineSetting<Endpoint | null>({
    path: 'downloads.clamd',
    env: 'LLM_MANAGER_CLAMD',
    schema: hostPortOrSocket(),
    default: () => null,
    defaultText: nothing,
    description: 'A ClamAV daemon that scans downloaded files: host:port or a socket.',
  }),
  databaseUrl: defineSetting<Secret | null>({
    path: 'database.url',
    env: 'DATABASE_URL',
    schema: secretUrl('postgresql:', 'postgres:'),
    default: () => null,
    defaultText: 'none: embedded',
    description: 'A PostgreSQL server to use in place of the embedded one.',
    secret: true,
  }),
  redisUrl: defineSetting<Secret | null>({
    path: 'redis.url',
    env: 'REDIS_URL',
    schema: secretUrl('redis:', 'rediss:', 'unix:'),
    default: () => null,
    defaultText: 'none: embedded',
    description: 'A Redis server for events, cache and limits of several processes.',
    secret: true,
  }),
  dockerHost: defineSetting<Endpoint>({
    path: 'docker.host',
    env: 'DOCKER_HOST',
    schema: dockerHost(),
    default: () => ({ kind: 'socket', path: '/var/run/docker.sock' }),
    defaultText: '/var/run/docker.sock',
    description: 'The Docker Engine.',
  }),
  dockerImages: defineSetting<string[] | null>({
    path: 'docker.images',
    env: 'LLM_MANAGER_DOCKER_IMAGES',
    schema: list(imageName),
    default: () => null,
    defaultText: "the templates' own",
    description: 'Images that deployments may run. One whose name does not tell what it is: KIND=image, with llama.cpp, vllm, tgi or ollama.',
  }),
  llamaServer: defineSetting<string | null>({
    path: 'deployments.llamaServer',
    env: 'LLM_MANAGER_LLAMA_SERVER',
    schema: text(),
    default: () => null,
    defaultText: 'found in PATH',
    description: 'A llama-server to use in place of the embedded engine; `off` = never.',
  }),
  onStop: defineSetting({
    path: 'deployments.onStop',
    env: 'LLM_MANAGER_ON_STOP',
    schema: oneOf(['stop', 'keep']),
    default: () => 'stop' as const,
    defaultText: 'stop',
    description: 'What becomes of running deployments when the service ends.',
  }),
  stopUnreadAfterSeconds: defineSetting<number | null>({
    path: 'chat.stopUnreadAfterSeconds',
    env: 'LLM_MANAGER_STOP_UNREAD_AFTER_SECONDS',
    schema: wholeNumber(1, 86_400),
    default: () => null,
    defaultText: nothing,
    description: 'Stops an answer that nobody has read for so long; without it an answer goes on to its end.',
  }),
  alertWebhookUrl: defineSetting<Secret | null>({
    path: 'alerts.webhook.url',
    env: 'LLM_MANAGER_ALERT_WEBHOOK_URL',
    schema: secretHttpUrl(),
    default: () => null,
    defaultText: nothing,
    description: 'Where alerts are posted to as JSON. No redirect is followed from there.',
    secret: true,
  }),
  alertWebhookSecret: defineSetting<Secret | null>({
    path: 'alerts.webhook.secret',
    env: 'LLM_MANAGER_ALERT_WEBHOOK_SECRET',
    schema: secretText(isWebhookSecret, 'must be 16 to 256 printable characters without spaces; after whsec_ base64 of at least 16 bytes'),
    default: () => null,
    defaultText: 'none: not signed',
    description: 'Signs what is posted there: the header webhook-signature holds an HMAC-SHA256.',
    secret: true,
  }),
  plugins: defineSetting({
    path: 'plugins',
    env: 'LLM_MANAGER_PLUGINS',
    schema: list(),
    default: () => [],
    defaultText: nothing,
    description: 'Modules of plug-ins to load: paths that begin with ./, / or ~/, or names of packages.',
  }),
  logLevel: defineSetting({
    path: 'log.level',
    env: 'LLM_MANAGER_LOG_LEVEL',
    schema: oneOf(logLevels),
    default: () => 'info' as const,
    defaultText: 'info',
    description: 'How much is logged.',
  }),
};

/** Read by the command line only, but names of ours all the same. */
export const clientVariables = ['LLM_MANAGER_URL', 'LLM_MANAGER_API_KEY'] as const;
