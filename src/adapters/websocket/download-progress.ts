import { DownloadProgressDocument, DownloadTaskStatusDocument, type DownloadProgressSubscription } from '../../../schema/generated/graphql.ts';
import { validationFailed } from '../../shared/errors.ts';
import type { Executor } from '../graphql/executor.ts';
import { queryObject } from '../rest/input.ts';
import { toRestJson } from '../../shared/json-view.ts';
import type { SocketRoute } from './accept.ts';
import { closeCodes } from './close-codes.ts';

function taskIdOf(url: URL): string | null {
  const { task_id: taskId, ...unknown } = queryObject(url);
  const names = Object.keys(unknown);
  if (names.length > 0) throw validationFailed(names.map((field) => ({ field, message: 'unknown field' })));
  return taskId ?? null;
}

function toMessage({ type, tasks }: DownloadProgressSubscription['downloadProgress']): Record<string, unknown> {
  const views = tasks.map(toRestJson);
  return type === 'SNAPSHOT' ? { type: 'snapshot', tasks: views } : { type: type.toLowerCase(), task: views[0] };
}

/** `/ws/download-progress[?task_id=]`: the present state, then what changes; the newest news of a task replaces older ones. */
export function downloadProgressSocket({ execute, subscribe }: Executor): SocketRoute {
  return {
    path: '/ws/download-progress',
    checkQuery: (url) => void taskIdOf(url),
    async admit(caller, url) {
      const taskId = taskIdOf(url);
      if (taskId !== null) await execute(caller)(DownloadTaskStatusDocument, { taskId });
    },
    async open({ connection, caller, url }) {
      const progress = await subscribe(caller)(DownloadProgressDocument, { taskId: taskIdOf(url) });
      await progress.each(({ downloadProgress }) => connection.send(toMessage(downloadProgress)), connection.signal);
      // Only the feed of one task ends by itself.
      connection.close(closeCodes.done, 'the task was removed');
    },
  };
}
