import type { EngineInfo, RuntimeInfo } from '../../types.ts';
import { embeddedEngines } from './embedded-variants.ts';
import type { VariantTrials } from './variant-trials.ts';
import type { LlamaServerFinder, LlamaServerFinding } from './llama-server/binary.ts';

/** What llama.cpp can run on here: llama-server first where it is there, because it is the faster of the two. */
export async function probeLlamaCpp(finder: LlamaServerFinder | null, trials: VariantTrials): Promise<Pick<RuntimeInfo, 'available' | 'version' | 'detail' | 'engines'>> {
  const [found, builds] = await Promise.all([finder === null ? null : finder.find(), embeddedEngines(trials)]);
  const isServerUsed = Boolean(found?.binary);
  const isEmbeddedUsed = !isServerUsed && finder?.isForced !== true;
  const embedded = builds.map((engine) => ({ ...engine, inUse: engine.inUse && isEmbeddedUsed }));
  const engines = [...(found ? [toEngine(found)] : []), ...embedded];
  const used = engines.find((engine) => engine.inUse);
  const fault = finder?.isForced === true ? found?.fault : embedded.every((engine) => !engine.available) ? 'The package node-llama-cpp is not installed.' : null;
  return { available: used !== undefined, version: used?.version ?? null, detail: used ? `Runs on ${used.name}.` : (fault ?? 'Nothing is there to run models with.'), engines };
}

function toEngine(found: LlamaServerFinding): EngineInfo {
  const common = { id: 'llama-server', name: 'llama-server' };
  if (found.binary) return { ...common, available: true, inUse: true, version: found.binary.version, detail: found.binary.path, remedy: null };
  const remedy = 'Build it with `llm-manager engines build llama-server`, or set LLM_MANAGER_LLAMA_SERVER to its path.';
  return { ...common, available: false, inUse: false, version: found.version, detail: found.fault, remedy };
}
