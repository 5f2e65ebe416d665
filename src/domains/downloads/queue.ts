import { parseModelRef } from '../catalog/model-ref.ts';
import type { JobQueue } from '../../shared/job-queue.ts';
import type { TaskRow } from './download.repository.ts';

export const downloadQueue = 'downloads';

/** Adds the task's job, unless it has one. Tasks of one source are a group, which may have a limit of its own. */
export async function enqueueTask(jobs: JobQueue, { id, priority, modelId }: Pick<TaskRow, 'id' | 'priority' | 'modelId'>): Promise<void> {
  await jobs.enqueue(downloadQueue, id, { priority, group: parseModelRef(modelId).source });
}
