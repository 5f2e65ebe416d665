/**
 * The room of deployments in a process of its own, to be killed: `deployments-service.ts <database> <log folder>
 * <runtimes> [model folder]`. Starts one deployment for each of the runtimes (comma between), prints their ids once they
 * run, and goes on; with a line on its standard input it ends in order and keeps its engines.
 */
import { createDeployments } from '../../../src/domains/deployments/create-deployments.ts';
import { createLlamaCppRuntime } from '../../../src/domains/deployments/runtimes/llama-cpp/llama-cpp.runtime.ts';
import { systemClock } from '../../../src/infrastructure/system-clock.ts';
import { entities } from '../../../src/infrastructure/database/entities.ts';
import { createPostgresOrm } from '../../../src/infrastructure/database/orm.ts';
import { InProcessEventBus } from '../../../src/infrastructure/events/in-process-event-bus.ts';
import { never, operator, installedModels } from '../deployments-bench.ts';
import { installedTiny } from '../installed-tiny.ts';
import { eventually } from '../eventually.ts';
import { Society } from '../instances.ts';
import { plainHttp } from '../plain-http.ts';
import { silentLogger } from '../silent-logger.ts';
import { createSmallEngineRuntime } from '../small-engine-runtime.ts';

const [url = '', logDir = '', wanted = '', modelFolder = ''] = process.argv.slice(2);
const orm = await createPostgresOrm(url, { entities, migrations: [], logger: silentLogger });
const small = createSmallEngineRuntime();
const llama = createLlamaCppRuntime({ http: plainHttp });
const model = installedTiny(modelFolder);
const room = createDeployments({
  em: orm.em.fork(),
  runtimes: new Map([[llama.id, llama], [small.id, small]]),
  installed: installedModels([model]),
  events: new InProcessEventBus({ clock: systemClock }),
  clock: systemClock,
  logger: silentLogger,
  logDir,
  instances: new Society().join(),
  config: { onStop: 'keep' },
  machineMemory: () => Promise.resolve({ availableBytes: 8 * 1024 ** 3, gpuFreeBytes: null }),
});
await room.start(never);
const config = { threads: 1, gpuLayers: 0, contextSize: 64, parallel: 1 };
const ids: string[] = [];
for (const runtime of wanted.split(',')) {
  const input = runtime === 'small' ? { runtime, override: [] } : { modelId: model.modelId, config, override: [] };
  ids.push((await room.deployments.start(input, operator, never)).id);
}
for (const id of ids) await eventually('it runs', async () => (await room.deployments.get(id)).status === 'running');
process.stdout.write(`${JSON.stringify({ ids })}\n`);
process.stdin.once('data', () => void room.stop(never).then(() => orm.close()).then(() => process.stdin.destroy()));
