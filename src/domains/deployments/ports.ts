import { createServer } from 'node:net';
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
  if (!(await isFree(port))) throw new AppError('PORT_IN_USE', `Port ${port} is used by another program.`, { details: { port } });
}

function portOf(endpoint: string | null): number | null {
  if (endpoint === null) return null;
  const url = new URL(endpoint);
  return url.hostname === '127.0.0.1' ? Number(url.port) : null;
}

/** A hint only: another program may take it right after. The engine's own failure to listen is the truth. */
async function isFree(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const server = createServer();
  server.once('error', () => resolve(false));
  server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)));
  return await promise;
}
