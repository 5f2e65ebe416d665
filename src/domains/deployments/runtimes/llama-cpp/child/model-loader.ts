import type { Llama, LlamaModel } from 'node-llama-cpp';
import { availableParallelism } from 'node:os';
import type { LoadedModel } from './engine.ts';
import type { EngineLog, EngineLogLevel } from './log.ts';
import { readModelFile } from '../model-file.ts';
import type { EngineFailureCode, EngineOptions } from '../protocol.ts';

/** Why the engine cannot run; the code is reported to the parent and decides the exit code. */
export class EngineFailure extends Error {
  override readonly name = 'EngineFailure';
  readonly code: EngineFailureCode;

  constructor(code: EngineFailureCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

export type LoadResult = LoadedModel & { gpu: string | false };

/** Long contexts cost memory that most chats never use; who wants more asks for it. */
const defaultContextSizeMax = 4_096;

export async function loadModel(options: EngineOptions, log: EngineLog, onProgress: (progress: number) => void): Promise<LoadResult> {
  const threads = options.threads ?? Math.max(1, availableParallelism() - 1);
  // Before any native code sees the file: llama.cpp trusts the sizes that a header gives.
  await attempt('MODEL_INVALID', 'The model file cannot be loaded', () => readModelFile(options.modelPath));
  const library = await attempt('ENGINE_UNAVAILABLE', 'The llama.cpp library cannot be loaded on this machine', () => import('node-llama-cpp'));
  const llama = await attempt('ENGINE_UNAVAILABLE', 'No llama.cpp build runs on this machine', () =>
    // Never builds or downloads: a service that compiles C++ at the first chat is a surprise nobody wants.
    library.getLlama({
      gpu: options.gpuLayers === 0 ? false : 'auto',
      build: 'never',
      skipDownload: true,
      progressLogs: false,
      maxThreads: threads,
      logLevel: library.LlamaLogLevel.warn,
      logger: (level, message) => log(toLogLevel(level), message),
    }),
  );
  const model = await loadWeights(llama, options, onProgress);
  const contextSize = options.contextSize ?? Math.min(model.trainContextSize, defaultContextSizeMax);
  const context = await attempt('OUT_OF_MEMORY', `A context of ${options.parallel} x ${contextSize} tokens cannot be made`, () =>
    model.createContext({ contextSize, sequences: options.parallel, threads, failedCreationRemedy: false }),
  );
  const sequences = Array.from({ length: options.parallel }, () => context.getSequence());
  return { library, llama, model, sequences, contextSize: context.contextSize, threads, gpu: llama.gpu };
}

async function loadWeights(llama: Llama, options: EngineOptions, onProgress: (progress: number) => void): Promise<LlamaModel> {
  try {
    return await llama.loadModel({ modelPath: options.modelPath, gpuLayers: options.gpuLayers ?? 'auto', onLoadProgress: onProgress });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const isMemory = cause instanceof Error && cause.name === 'InsufficientMemoryError';
    throw new EngineFailure(isMemory ? 'OUT_OF_MEMORY' : 'MODEL_INVALID', `The model file cannot be loaded: ${reason}`, cause);
  }
}

async function attempt<T>(code: EngineFailureCode, message: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new EngineFailure(code, `${message}: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
  }
}

function toLogLevel(level: string): EngineLogLevel {
  if (level === 'fatal' || level === 'error') return 'error';
  return level === 'warn' || level === 'debug' ? level : 'info';
}
