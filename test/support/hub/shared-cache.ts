/** Our service as a user of a Hugging Face cache: fills one for others, or finds what others have put there. */
import { createTemporaryFolder } from '../data-dir.ts';
import { eventually } from '../eventually.ts';
import { RestClient } from '../rest-client.ts';
import { startService } from '../service-process.ts';

type Request = { home: string; endpoint: string; modelId: string };

/** Downloads every file of the model with HF_HOME at `home`; answers what went wrong. */
export async function downloadByService({ home, endpoint, modelId }: Request): Promise<string[]> {
  const folder = await createTemporaryFolder('shared-cache');
  const service = await startService({ dataDir: folder.path, env: { HF_ENDPOINT: endpoint, HF_HOME: home } });
  try {
    const api = new RestClient(service.url, service.key);
    const task = await api.expect(201, 'task', { method: 'POST', path: '/api/downloads/start', body: { model_id: modelId, include: ['**'] } });
    const path = `/api/downloads/${String(task['task_id'])}/status`;
    const ended = await eventually(
      'the download ends',
      async () => {
        const now = await api.expect(200, 'task', { method: 'GET', path });
        return ['completed', 'failed'].includes(String(now['status'])) ? now : null;
      },
      30_000,
    );
    return ended['status'] === 'completed' ? [] : [`the service could not download it: ${JSON.stringify(ended['error'])}`];
  } finally {
    await service.end('SIGTERM');
    await folder.remove();
  }
}
