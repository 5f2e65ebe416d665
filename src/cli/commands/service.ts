import {
  CreateApiKeyDocument,
  GetServerInfoDocument,
  GetStorageDocument,
  ListAlertsDocument,
  ListApiKeysDocument,
  ListDownloadsDocument,
  RevokeApiKeyDocument,
  RotateApiKeyDocument,
  SystemResourcesNowDocument,
  type AlertFieldsFragment,
  type AlertSeverity,
  type ApiKeyFieldsFragment,
  type ApiKeyLimitsInput,
  type Role,
} from '../../../schema/generated/graphql.ts';
import { toRestJson } from '../../shared/json-view.ts';
import type { Handler } from '../context.ts';
import { wrongUsage } from '../failure.ts';
import { enumFlag, listFlag, numberFlag, textFlag, type Flags } from '../flags.ts';
import { bytes, columns, duration, text, time, word } from '../format.ts';
import { listDeployments } from '../lookup.ts';
import type { Output } from '../output.ts';
import { accept } from '../service-client.ts';

const severities: readonly AlertSeverity[] = ['INFO', 'WARNING', 'CRITICAL'];
const roles = ['ADMIN', 'OPERATOR', 'USER', 'VIEWER'] as const satisfies readonly Role[];

export const keys: Handler = async ({ output, signal, connect }) => {
  const { apiKeys } = await (await connect()).execute(ListApiKeysDocument, {}, signal);
  output.data({ items: apiKeys.map((key) => toRestJson(key)) });
  columns(output, ['KEY', 'NAME', 'OWNER', 'ROLE', 'ONLY FOR', 'BEGINS', 'LAST USED', 'STATE'], apiKeys.map((key) => [
    key.keyId, key.name, key.owner, word(key.role), narrowing(key), key.prefix, time(key.lastUsedAt), key.revokedAt ? 'revoked' : key.expiresAt ? `until ${time(key.expiresAt)}` : 'good',
  ]));
  return undefined;
};

/** What a key is narrowed to, in a few words. */
function narrowing({ scopes, limits: { requestsPerMinute, tokensPerDay }, allowedDeployments }: ApiKeyFieldsFragment): string {
  const parts = [
    scopes.join(' '),
    typeof requestsPerMinute !== 'number' ? '' : `${requestsPerMinute} requests/min`,
    typeof tokensPerDay !== 'number' ? '' : `${tokensPerDay} tokens/day`,
    allowedDeployments ? `${allowedDeployments.length} deployment${allowedDeployments.length === 1 ? '' : 's'}` : '',
  ];
  return text(parts.filter((part) => part !== '').join(', '));
}

/** What the flags narrow a key to; nothing for what they do not name. */
function narrowFlags(flags: Flags): { scopes?: string[]; limits?: ApiKeyLimitsInput; allowedDeployments?: string[] } {
  const scopes = listFlag(flags, 'scope');
  const allowedDeployments = listFlag(flags, 'deployment');
  const requestsPerMinute = numberFlag(flags, 'requestsPerMinute');
  const tokensPerDay = numberFlag(flags, 'tokensPerDay');
  const isLimited = requestsPerMinute !== undefined || tokensPerDay !== undefined;
  return {
    ...(scopes && { scopes }),
    ...(isLimited && { limits: { requestsPerMinute: requestsPerMinute ?? null, tokensPerDay: tokensPerDay ?? null } }),
    ...(allowedDeployments && { allowedDeployments }),
  };
}

function showSecret(output: Output, key: ApiKeyFieldsFragment, secret: string): void {
  output.note(`${key.name} (${word(key.role)}, ${key.keyId}); the key is shown this once:`);
  output.data({ key: toRestJson(key), secret });
  output.line(secret);
}

export const createKey: Handler = async ({ output, signal, flags, connect }, [name = '']) => {
  const expires = textFlag(flags, 'expires');
  const expiresAt = expires === undefined ? null : new Date(expires);
  if (expiresAt && Number.isNaN(expiresAt.getTime())) throw wrongUsage(`--expires: must be a time such as 2030-01-31 or 2030-01-31T12:00:00Z, not ${expires ?? ''}`);
  const input = {
    name,
    owner: textFlag(flags, 'owner') ?? name,
    role: enumFlag(flags, 'role', roles) ?? ('USER' as const),
    expiresAt: expiresAt?.toISOString() ?? null,
    ...narrowFlags(flags),
  };
  const client = await connect();
  const { key, secret } = accept((await client.execute(CreateApiKeyDocument, { input }, signal)).createApiKey);
  showSecret(output, key, secret);
  return undefined;
};

export const revokeKey: Handler = async ({ output, signal, connect }, [keyId = '']) => {
  const client = await connect();
  const { key } = accept((await client.execute(RevokeApiKeyDocument, { input: { keyId } }, signal)).revokeApiKey);
  output.data({ key: toRestJson(key) });
  output.line(`${key.keyId}  ${key.name}  revoked`);
  return undefined;
};

export const rotateKey: Handler = async ({ output, signal, flags, connect }, [keyId = '']) => {
  const client = await connect();
  const { key, secret } = accept((await client.execute(RotateApiKeyDocument, { input: { keyId, ...narrowFlags(flags) } }, signal)).rotateApiKey);
  showSecret(output, key, secret);
  return undefined;
};

/** The newest of each state; more than these nobody reads in a terminal. */
const alertsShown = 20;

function alertsText({ firing, acknowledged, items }: { firing: number; acknowledged: number; items: readonly AlertFieldsFragment[] }): string {
  const [worst] = items.toSorted((left, right) => severities.indexOf(right.severity) - severities.indexOf(left.severity));
  if (!worst) return 'none open';
  return `${firing + acknowledged} open${acknowledged > 0 ? `, ${acknowledged} of them acknowledged` : ''}: ${text(worst.message)}${firing + acknowledged > 1 ? ' ...' : ''}`;
}

function gpuMemory({ memoryTotalBytes: total, memoryUsedBytes: used }: { memoryTotalBytes?: number | null; memoryUsedBytes?: number | null }): string {
  if (typeof total !== 'number') return "uses the machine's memory";
  return typeof used === 'number' ? `${bytes(total - used)} of ${bytes(total)} free` : bytes(total);
}

export const status: Handler = async ({ output, signal, connect }) => {
  const client = await connect();
  const [{ serverInfo }, { resources }, { storage }, deployments, { downloadTasks }, firing, acknowledged] = await Promise.all([
    client.execute(GetServerInfoDocument, {}, signal),
    client.execute(SystemResourcesNowDocument, {}, signal),
    client.execute(GetStorageDocument, {}, signal),
    listDeployments(client, {}, signal),
    client.execute(ListDownloadsDocument, { status: 'RUNNING', first: 100 }, signal),
    client.execute(ListAlertsDocument, { status: 'FIRING', first: alertsShown }, signal),
    client.execute(ListAlertsDocument, { status: 'ACKNOWLEDGED', first: alertsShown }, signal),
  ]);
  const alerts = { firing: firing.alerts.total ?? 0, acknowledged: acknowledged.alerts.total ?? 0, items: [...firing.alerts.items, ...acknowledged.alerts.items] };
  const running = deployments.items.filter((deployment) => deployment.status === 'RUNNING');
  output.data({
    url: client.url,
    server: toRestJson(serverInfo),
    resources: toRestJson(resources),
    storage: toRestJson(storage),
    deployments: { total: deployments.items.length, running: running.length },
    downloads: { running: downloadTasks.items.length },
    alerts: { ...alerts, items: alerts.items.map((alert) => toRestJson(alert)) },
  });
  const { memory, cpu, gpus, process: self } = resources;
  const facts: [string, string][] = [
    ['service', `llm-manager ${serverInfo.version} at ${client.url} (process ${self.pid}, up ${duration(self.uptimeSeconds)})`],
    ['database', text(serverInfo.database)],
    ['events', text(serverInfo.events)],
    ['machine', `${serverInfo.platform}, ${cpu.cores} cores at ${Math.round(cpu.percent)} %, ${bytes(memory.availableBytes)} of ${bytes(memory.totalBytes)} memory free`],
    ...gpus.map((gpu): [string, string] => ['gpu', `${gpu.name}, ${gpuMemory(gpu)}`]),
    ...storage.volumes.map((volume): [string, string] => [word(volume.purpose), `${bytes(volume.freeBytes)} free at ${volume.path}`]),
    ['deployments', `${running.length} of ${deployments.items.length} running${running.length > 0 ? `: ${running.map(({ name }) => name).join(', ')}` : ''}`],
    ['downloads', `${downloadTasks.items.length} running`],
    ['alerts', alertsText(alerts)],
  ];
  for (const [name, value] of facts) output.line(`${name.padEnd(13)}${value}`);
  return undefined;
};
