import { defineMachine } from '../../shared/state-machine.ts';

export const storageJobStatuses = ['running', 'completed', 'failed', 'cancelled'] as const;
export type StorageJobStatus = (typeof storageJobStatuses)[number];

/** Begun in the moment in which it is entered; one that was interrupted is asked for again as another one. */
export const storageJobMachine = defineMachine<StorageJobStatus>('storage_job', {
  running: ['completed', 'failed', 'cancelled'],
  completed: [],
  failed: [],
  cancelled: [],
});
