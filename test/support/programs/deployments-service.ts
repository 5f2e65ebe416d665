/**
 * The room of deployments in a process of its own, to be killed: `deployments-service.ts <database> <log folder>
 * <runtime> [model file]`. Starts one deployment, prints its id and its engine's pid once it runs, and goes on.
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
import { plainHttp } from '../plain-http.ts';
import { silentLogger } from '../silent-logger.ts';
import { createSmallEngineRuntime } from '../small-engine-runtime.ts';

const [url = '', logDir = '', runtime = '', modelFolder = ''] = process.argv.slice(2);
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
  machineMemory: () => Promise.resolve({ availableBytes: 8 * 1024 ** 3, gpuFreeBytes: null }),
});
await room.start(never);
const config = { threads: 1, gpuLayers: 0, contextSize: 64, parallel: 1 };
const input = runtime === 'small' ? { runtime, override: [] } : { modelId: model.modelId, config, override: [] };
const { id } = await room.deployments.start(input, operator, never);
const running = await eventually('it runs', async () => {
  const view = await room.deployments.get(id);
  return view.status === 'running' ? view : null;
});
process.stdout.write(`${JSON.stringify({ id, endpoint: running.endpoint })}\n`);
