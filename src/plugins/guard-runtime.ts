import { z } from 'zod';
import type { ModelRuntime, RunningModel, RuntimeHandle } from '../domains/deployments/runtime.ts';
import type { DeploymentUseView, RuntimeInfo } from '../domains/deployments/types.ts';
import { AppError, isAppError } from '../shared/errors.ts';
import type { Logger } from '../shared/logger.ts';
import { firstLine } from './plugin-fault.ts';

const faults = z.array(z.object({ field: z.string(), message: z.string() })).max(100);
const handle = z.object({ runtime: z.string(), pid: z.number().int().nullable(), startTime: z.string().nullable(), containerId: z.string().nullable() });
const running = z.object({
  baseUrl: z.url({ protocol: /^https?$/ }),
  model: z.string().min(1),
  headers: z.record(z.string(), z.string()),
  contextSize: z.number().int().positive().nullable(),
  handle,
  exited: z.custom<Promise<unknown>>((value) => value instanceof Promise),
});
const engine = z.object({ id: z.string(), name: z.string(), available: z.boolean(), inUse: z.boolean(), version: z.string().nullable(), detail: z.string().nullable(), remedy: z.string().nullable() });
const info = z.object({ available: z.boolean(), version: z.string().nullable(), detail: z.string().nullable(), engines: z.array(engine).max(100) });
const figure = z.number().nonnegative().nullable();
const use = z.object({ cpuPercent: figure, memoryBytes: figure, gpuMemoryBytes: figure });

const noUse: DeploymentUseView = { cpuPercent: null, memoryBytes: null, gpuMemoryBytes: null };

/** A runtime whose failures are those of its port: the supervisor relies on what that promises. */
export function guardRuntime(runtime: ModelRuntime, logger: Logger): ModelRuntime {
  const { id, name, capabilities, adopt, endStrays, awayReason } = runtime;
  const told = (method: string, error: unknown): void => logger.error({ runtime: id, method, err: error }, 'a runtime failed in a way that its contract does not allow');
  const guarded = (model: RunningModel, method: string): RunningModel => guardModel(model, id, (error) => told(method, error));
  return {
    id,
    name,
    capabilities,
    ...declared(runtime),
    probe: async (signal) => {
      const common = { id, name, needsModel: capabilities.needsModel, formats: capabilities.formats };
      try {
        return { ...info.parse(await runtime.probe(signal)), ...common };
      } catch (error) {
        signal.throwIfAborted();
        told('probe', error);
        return { ...common, available: false, version: null, detail: `It cannot say whether it can be used: ${firstLine(error)}`, engines: [] } satisfies RuntimeInfo;
      }
    },
    validate: (config) => {
      try {
        return faults.parse(runtime.validate(config));
      } catch (error) {
        told('validate', error);
        return [{ field: 'config', message: `the runtime ${id} could not look at it` }];
      }
    },
    start: async (request, signal) => {
      try {
        return guarded(await runtime.start(request, signal), 'start');
      } catch (error) {
        signal.throwIfAborted();
        if (isAppError(error)) throw error;
        told('start', error);
        throw new AppError('START_FAILED', `The runtime ${id} failed: ${firstLine(error)}`, { cause: error });
      }
    },
    endOrphan: async (given: RuntimeHandle, signal) => await runtime.endOrphan(given, signal),
    ...(adopt
      ? {
          adopt: async (request, signal) => {
            const model = await adopt.call(runtime, request, signal);
            return model && guarded(model, 'adopt');
          },
        }
      : {}),
    ...(endStrays ? { endStrays: async (known, signal) => await endStrays.call(runtime, known, signal) } : {}),
    ...(awayReason ? { awayReason: async (signal) => await awayReason.call(runtime, signal) } : {}),
  };
}

/** What it says of itself, and what its callers guard. */
function declared({ defaults, formatsFor, ownModels, reach }: ModelRuntime): Partial<ModelRuntime> {
  return { ...(defaults ? { defaults } : {}), ...(formatsFor ? { formatsFor } : {}), ...(ownModels ? { ownModels } : {}), ...(reach ? { reach } : {}) };
}

function guardModel(model: RunningModel, id: string, told: (error: unknown) => void): RunningModel {
  const shape = running.safeParse(model);
  if (!shape.success) {
    // It may run for all that.
    void (async () => await model.stop(0, AbortSignal.abort()))().catch(told);
    throw shape.error;
  }
  const { baseUrl, model: upstream, headers, http, contextSize, handle: ownHandle, keepsake } = model;
  const release = model.release?.bind(model);
  // Asked every few seconds.
  let isUseTold = false;
  return {
    baseUrl,
    model: upstream,
    headers,
    contextSize,
    handle: { ...ownHandle, runtime: id },
    ...(http ? { http } : {}),
    ...(keepsake ? { keepsake } : {}),
    exited: model.exited.catch((error: unknown) => {
      told(error);
      return { code: null, signal: null, reason: firstLine(error) };
    }),
    check: async (signal) => await model.check(signal),
    use: async () => {
      try {
        return use.parse(await model.use());
      } catch (error) {
        if (!isUseTold) told(error);
        isUseTold = true;
        return noUse;
      }
    },
    stop: async (drainMs, signal) => {
      try {
        await model.stop(drainMs, signal);
      } catch (error) {
        told(error);
      }
    },
    ...(release ? { release: async () => await release() } : {}),
  };
}
