import type { Deployments, DeploymentView } from '../../domains/deployments/types.ts';
import { AppError } from '../../shared/errors.ts';
import { pageLimits } from '../../shared/paging.ts';
import { mayUseDeployment, type Principal } from '../../shared/principal.ts';

/** More than anybody runs; the answer has no pages in OpenAI's API. */
const pagesMax = 10;

export type ModelEntry = { id: string; object: 'model'; created: number; owned_by: string };

function toEntry({ name, createdAt }: DeploymentView): ModelEntry {
  return { id: name, object: 'model', created: Math.floor(createdAt.getTime() / 1000), owned_by: 'llm-manager' };
}

/** A model can be asked when it is wanted to run: what is starting is waited for. */
function canBeAsked({ desiredStatus, status }: DeploymentView): boolean {
  return desiredStatus === 'running' && status !== 'failed';
}

export async function listModels(deployments: Pick<Deployments, 'list'>, { allowedDeployments: ids }: Principal): Promise<{ object: 'list'; data: ModelEntry[] }> {
  const data: ModelEntry[] = [];
  let cursor: string | undefined;
  for (let page = 0; page < pagesMax; page += 1) {
    const { items, nextCursor } = await deployments.list(ids ? { ids } : {}, { limit: pageLimits.max, ...(cursor !== undefined && { cursor }) });
    data.push(...items.filter(canBeAsked).map(toEntry));
    if (nextCursor === null) break;
    cursor = nextCursor;
  }
  return { object: 'list', data };
}

export async function getModel(deployments: Pick<Deployments, 'findByName'>, name: string, principal: Principal): Promise<ModelEntry> {
  const found = await deployments.findByName(name);
  if (found && mayUseDeployment(principal, found.id)) return toEntry(found);
  throw new AppError('DEPLOYMENT_NOT_FOUND', `There is no deployment with the name ${JSON.stringify(name)}; GET /v1/models lists them.`);
}
