import {
  DeploymentStateDocument,
  ListDeploymentsDocument,
  ListInstalledModelsDocument,
  type DeploymentFieldsFragment,
  type InstalledModelFieldsFragment,
} from '../../schema/generated/graphql.ts';
import { AppError } from '../shared/errors.ts';
import type { ServiceClient } from './service-client.ts';

export type Deployment = DeploymentFieldsFragment;
export type InstalledModel = InstalledModelFieldsFragment;

type Connection<Item> = { items: readonly Item[]; pageInfo: { hasNextPage: boolean; endCursor?: string | null | undefined }; total?: number | null | undefined };

const pageSize = 100;
/** Nobody reads more in a terminal; `--limit` and the API have the rest. */
const itemsMax = 10_000;

/** All items of a connection, page by page. */
export async function collect<Item>(page: (first: number, after: string | null) => Promise<Connection<Item>>, limit = itemsMax): Promise<Connection<Item>> {
  const items: Item[] = [];
  let after: string | null = null;
  for (;;) {
    const connection: Connection<Item> = await page(Math.min(pageSize, limit - items.length), after);
    items.push(...connection.items);
    const next = connection.pageInfo.hasNextPage ? (connection.pageInfo.endCursor ?? null) : null;
    if (next === null || items.length >= limit) return { items, pageInfo: connection.pageInfo, total: connection.total };
    after = next;
  }
}

export async function listDeployments(client: ServiceClient, filter: { modelId?: string }, signal: AbortSignal): Promise<Connection<Deployment>> {
  return await collect(async (first, after) => (await client.execute(ListDeploymentsDocument, { ...filter, first, after }, signal)).deployments);
}

export async function listInstalled(client: ServiceClient, signal: AbortSignal): Promise<Connection<InstalledModel>> {
  return await collect(async (first, after) => (await client.execute(ListInstalledModelsDocument, { first, after }, signal)).installedModels);
}

const uuidPattern = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** The deployment of this name, else of this id. */
export async function findDeployment(client: ServiceClient, name: string, signal: AbortSignal): Promise<Deployment | null> {
  const named = (await listDeployments(client, {}, signal)).items.find((deployment) => deployment.name === name);
  if (named || !uuidPattern.test(name)) return named ?? null;
  return (await client.execute(DeploymentStateDocument, { deploymentId: name }, signal)).deployment;
}

export async function getDeployment(client: ServiceClient, name: string, signal: AbortSignal): Promise<Deployment> {
  const deployment = await findDeployment(client, name, signal);
  if (!deployment) throw new AppError('DEPLOYMENT_NOT_FOUND', `There is no deployment ${name}; "llm-manager ps" lists them.`);
  return deployment;
}

/** It runs, or was unloaded because nobody used it: the service loads it again for whoever asks. */
export function answersWhenAsked({ status, desiredStatus }: Pick<Deployment, 'status' | 'desiredStatus'>): boolean {
  return status === 'RUNNING' || (status === 'STOPPED' && desiredStatus === 'RUNNING');
}

/** The ids under which a model may be stored that somebody calls `text`. */
export function modelIdsMeant(text: string): string[] {
  const bare = text.startsWith('ollama:') || !text.includes('/') ? text.replace(/:latest$/, '') : text.replace(/@[^@]*$/, '');
  return [bare, `huggingface:${bare}`, `ollama:${bare}`].map((id) => id.toLowerCase());
}

export function isMeant(text: string, modelId: string | null): boolean {
  return modelId !== null && modelIdsMeant(text).includes(modelId.toLowerCase());
}

export function isVariant(wanted: string | undefined, variant: string | null): boolean {
  return wanted === undefined || wanted.toLowerCase() === variant?.toLowerCase();
}
