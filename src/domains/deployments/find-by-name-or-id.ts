import { isId } from '../../shared/ids.ts';
import type { Deployments } from './types.ts';

/** The id of the deployment whose id or name it is; null when there is none. */
export async function findByNameOrId(deployments: Pick<Deployments, 'find' | 'findByName'>, nameOrId: string): Promise<string | null> {
  const byId = isId(nameOrId) ? await deployments.find(nameOrId.toLowerCase()) : null;
  return (byId ?? (await deployments.findByName(nameOrId)))?.id ?? null;
}
