import { isPortFree } from '../../platform/free-port.ts';
import { AppError } from '../../shared/errors.ts';
import type { DeploymentRow } from './deployment.repository.ts';

/** Throws PORT_IN_USE when one of ours has the port or anything else listens on it. Port 0 or none is always free. */
export async function assertPortFree(port: number | undefined, others: readonly DeploymentRow[]): Promise<void> {
  if (port === undefined || port === 0) return;
  const owner = others.find((row) => row.config.port === port || portOf(row.endpoint ?? null) === port);
  if (owner) {
    const details = { port, deployment_id: owner.id, deployment_name: owner.name };
    throw new AppError('PORT_IN_USE', `Port ${port} is used by the deployment ${owner.name}.`, { details });
  }
  if (!(await isPortFree(port))) throw new AppError('PORT_IN_USE', `Port ${port} is used by another program.`, { details: { port } });
}

function portOf(endpoint: string | null): number | null {
  if (endpoint === null) return null;
  const url = new URL(endpoint);
  return url.hostname === '127.0.0.1' ? Number(url.port) : null;
}
