import { jest } from '@jest/globals';
import { DeploymentRepository } from '../../src/domains/deployments/deployment.repository.ts';
import { createGate } from '../../src/shared/async.ts';

type Change = DeploymentRepository['change'];

/**
 * The real changes of state of one deployment, in an order that chance seldom brings: it goes on from its failure before
 * the start that was asked for is written. Returns what puts an end to that.
 */
export function letItOvertakeItsStart(): () => void {
  const isAsked = createGate();
  const hasGoneOn = createGate();
  const written: Change = Reflect.get(DeploymentRepository.prototype, 'change');
  const change = jest.spyOn(DeploymentRepository.prototype, 'change').mockImplementation(async function (this: DeploymentRepository, request) {
    if (request.to === 'pending') {
      isAsked.open();
      await hasGoneOn.opened;
    }
    const left = await written.call(this, request);
    if (request.to === 'failed') await isAsked.opened;
    if (request.to === 'starting' && left === 'failed') hasGoneOn.open();
    return left;
  });
  return () => change.mockRestore();
}
