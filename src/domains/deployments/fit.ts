import { KeyedMutex } from '../../shared/async.ts';
import { AppError } from '../../shared/errors.ts';
import { amountsText, defaultContextSize, defaultParallel, usableBytes, verdictOf } from '../../shared/gguf/fit-policy.ts';
import { estimateMemory, maxContextThatFits } from '../../shared/gguf/memory.ts';
import type { ModelFiles } from './installed-choice.ts';
import { ModelFigureReader } from './model-figures.ts';
import type { DeploymentConfig, FitReport } from './types.ts';

/** What is free for a model now; null where there is no GPU. */
export type MachineMemory = () => Promise<{ availableBytes: number; gpuFreeBytes: number | null }>;

export type ClaimOptions = { config: DeploymentConfig; override: boolean; makeRoom: (missingBytes: number) => Promise<boolean> };

/** Whether a model fits in memory, and how much is promised to engines that have not taken theirs yet. */
export class FitChecker {
  readonly #machineMemory: MachineMemory;
  readonly #promised = new Map<string, number>();
  readonly #claiming = new KeyedMutex();
  readonly #makingRoom = new KeyedMutex();
  readonly #figures = new ModelFigureReader();

  constructor(machineMemory: MachineMemory) {
    this.#machineMemory = machineMemory;
  }

  /** Also checks the headers, before any engine sees the file. Throws UNSUPPORTED_MODEL, MODEL_NOT_INSTALLED. */
  async report(files: ModelFiles, config: DeploymentConfig, exceptFor?: string): Promise<FitReport> {
    const header = await this.#figures.read(files);
    const contextSize = config.contextSize ?? defaultContextSize(header.contextLength);
    // What safetensors take once they are loaded is told by their headers, and may be less than the files.
    const request = { header, fileBytes: files.parts === null ? files.bytes : 0, parallel: config.parallel ?? defaultParallel };
    const estimate = estimateMemory({ ...request, contextSize });
    const availableBytes = await this.availableBytes(config, exceptFor);
    const maxContext = maxContextThatFits({ ...request, availableBytes });
    const neededBytes = estimate.totalBytes;
    const verdict = verdictOf(neededBytes, availableBytes);
    const maxContextSize = maxContext > 0 ? maxContext : null;
    const { weightsBytes, kvCacheBytes, overheadBytes } = estimate;
    const reason = reasonFor(verdict, { neededBytes, availableBytes, maxContextSize });
    return { verdict, neededBytes, availableBytes, weightsBytes, kvCacheBytes, overheadBytes, contextSize, maxContextSize, reason };
  }

  /**
   * Throws MODEL_DOES_NOT_FIT; otherwise the memory counts as taken until `settle`. `makeRoom` is asked once for the
   * bytes that are missing and answers whether it has freed them.
   */
  async claim(deploymentId: string, files: ModelFiles, options: ClaimOptions): Promise<void> {
    if ((await this.#tryClaim(deploymentId, files, options)) === null) return;
    // One at a time, so that two do not end engines for the same bytes; who fits without that does not wait for it.
    await this.#makingRoom.run('', async () => {
      const found = await this.#tryClaim(deploymentId, files, options);
      if (found === null) return;
      const isRoomier = await options.makeRoom(found.neededBytes - found.availableBytes);
      const missing = isRoomier ? await this.#tryClaim(deploymentId, files, options) : found;
      if (missing !== null) throw doesNotFit(missing);
    });
  }

  /** Null when it is claimed, else why it does not fit. One at a time: two that look at the same free memory would both take it. */
  async #tryClaim(deploymentId: string, files: ModelFiles, { config, override }: ClaimOptions): Promise<FitReport | null> {
    return await this.#claiming.run('', async () => {
      const report = await this.report(files, config, deploymentId);
      if (report.verdict === 'does_not_fit' && !override) return report;
      this.#promised.set(deploymentId, report.neededBytes);
      return null;
    });
  }

  settle(deploymentId: string): void {
    this.#promised.delete(deploymentId);
  }

  async availableBytes(config: DeploymentConfig, exceptFor?: string): Promise<number> {
    const { availableBytes, gpuFreeBytes } = await this.#machineMemory();
    const gpu = config.gpuLayers === 0 ? 0 : (gpuFreeBytes ?? 0);
    let promised = 0;
    for (const [id, bytes] of this.#promised) if (id !== exceptFor) promised += bytes;
    return usableBytes(availableBytes, gpu, promised);
  }
}

export function doesNotFit(report: FitReport): AppError {
  const details = { needed_bytes: report.neededBytes, available_bytes: report.availableBytes, max_context_size: report.maxContextSize };
  return new AppError('MODEL_DOES_NOT_FIT', report.reason, { details });
}

function reasonFor(verdict: FitReport['verdict'], figures: Pick<FitReport, 'neededBytes' | 'availableBytes' | 'maxContextSize'>): string {
  const amounts = amountsText(figures.neededBytes, figures.availableBytes);
  if (verdict === 'fits') return `${amounts}.`;
  if (verdict === 'tight') return `${amounts}: little is left for anything else.`;
  const way = figures.maxContextSize === null ? 'A smaller variant may fit.' : `A context of up to ${figures.maxContextSize} tokens would fit.`;
  return `${amounts}. ${way}`;
}
