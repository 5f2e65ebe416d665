import { StorageJobStateDocument, type StorageJobFieldsFragment, type StorageJobStateQuery } from '../../schema/generated/graphql.ts';
import { sleep } from '../shared/async.ts';
import { AppError } from '../shared/errors.ts';
import type { CommandContext } from './context.ts';
import { ServiceUnreachable, toErrorCode } from './failure.ts';
import { ProgressView } from './progress.ts';
import type { ServiceClient } from './service-client.ts';

export type StorageJob = NonNullable<StorageJobStateQuery['storageJob']>;

const askEveryMs = 500;
/** A service that is busy or begins anew; one that is gone for longer is told. */
const missesMax = 20;

/** Shows work on stored models until it has ended, and answers what came of it. Throws what it failed with. */
export async function waitForJob({ output, signal }: Pick<CommandContext, 'output' | 'signal'>, client: ServiceClient, begun: StorageJobFieldsFragment): Promise<StorageJob> {
  const { storageJobId } = begun;
  const view = new ProgressView(output);
  output.note('The service goes on with it, also when this command ends.');
  const sayThatItGoesOn = (): void => output.note(`It goes on in the service; "llm-manager cancel ${storageJobId}" ends it.`);
  signal.addEventListener('abort', sayThatItGoesOn, { once: true });
  try {
    view.updateJob(begun);
    for (let misses = 0; ; ) {
      await sleep(askEveryMs, signal);
      try {
        const { storageJob } = await client.execute(StorageJobStateDocument, { storageJobId }, signal);
        if (!storageJob) throw new AppError('NOT_FOUND', 'Nothing is known of the work any more.');
        misses = 0;
        view.updateJob(storageJob);
        if (storageJob.status === 'COMPLETED') return storageJob;
        if (storageJob.status === 'CANCELLED') throw new AppError('INVALID_STATE', 'It was cancelled.');
        if (storageJob.status === 'FAILED') throw new AppError(toErrorCode(storageJob.error?.code), storageJob.error?.message ?? 'It failed.');
      } catch (error) {
        misses += 1;
        if (!(error instanceof ServiceUnreachable) || misses > missesMax) throw error;
      }
    }
  } finally {
    signal.removeEventListener('abort', sayThatItGoesOn);
    view.end();
  }
}
