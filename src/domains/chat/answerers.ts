import { AppError } from '../../shared/errors.ts';
import { mayUseDeployment, type Principal } from '../../shared/principal.ts';
import type { Deployments, DeploymentView } from '../deployments/types.ts';
import { knownShape } from './chat.input.ts';
import { deploymentNotFound } from './faults.ts';

/** The deployments that a session talks to, as far as a caller must be told at once that they cannot answer. */
export class Answerers {
  readonly #deployments: Pick<Deployments, 'find'>;

  constructor(deployments: Pick<Deployments, 'find'>) {
    this.#deployments = deployments;
  }

  /** In the given order. Throws DEPLOYMENT_NOT_FOUND, also for one that the caller's key may not use. */
  async find(ids: readonly string[], principal: Principal): Promise<DeploymentView[]> {
    return await Promise.all(ids.map((id) => this.#get(id, principal)));
  }

  /** As `find`, and each can answer now or is about to. Throws INVALID_STATE, RUNTIME_UNAVAILABLE. */
  async findReady(ids: readonly string[], principal: Principal): Promise<DeploymentView[]> {
    const deployments = await this.find(ids, principal);
    for (const deployment of deployments) assertCanAnswer(deployment);
    return deployments;
  }

  async #get(id: string, principal: Principal): Promise<DeploymentView> {
    const known = knownShape(id);
    const deployment = known === null ? null : await this.#deployments.find(known);
    if (!deployment || !mayUseDeployment(principal, deployment.id)) throw deploymentNotFound(id);
    return deployment;
  }
}

function assertCanAnswer({ id, name, status, desiredStatus, config, error }: DeploymentView): void {
  if (status === 'failed') {
    const why = error ? `: ${error.message}` : '';
    throw new AppError('RUNTIME_UNAVAILABLE', `The deployment ${name} has failed${why}`, { details: { deployment_id: id } });
  }
  const isOnDemand = config.keepAliveSeconds !== undefined && config.keepAliveSeconds >= 0;
  // One that nobody used is loaded again by the message.
  if (desiredStatus === 'running' && (status !== 'stopped' || isOnDemand)) return;
  throw new AppError('INVALID_STATE', `The deployment ${name} does not run: start it first.`, {
    details: { deployment_id: id, status, allowed: ['pending', 'starting', 'running', 'unhealthy', 'restarting'] },
  });
}
