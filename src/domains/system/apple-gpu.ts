import { platform } from 'node:os';
import * as z from 'zod';
import type { Clock } from '../../shared/clock.ts';
import type { GpuSample } from '../../shared/resources-sample.ts';
import type { GpuSource } from './gpu-program.ts';

const mebibyte = 1024 ** 2;
/** A card is plugged in or taken out rarely, and asking makes macOS describe all of its screens: a second of work. */
const askAgainMs = 60 * 60_000;
const figure = z.number().nonnegative().nullable().catch(null);

/** Of `graphics()` of systeminformation, as it tells of macOS; sizes in MiB. What it only sometimes has may be missing. */
const controllerSchema = z.object({
  vendor: z.string().catch(''),
  model: z.string().catch(''),
  bus: z.string().catch(''),
  vram: figure,
  /** The memory is the machine's own. */
  vramDynamic: z.boolean().catch(true),
  /** Text on Apple's own chips. */
  cores: z.union([z.string(), z.number()]).nullable().catch(null),
  memoryUsed: figure,
  utilizationGpu: figure,
  temperatureGpu: z.number().nullable().catch(null),
  powerDraw: figure,
});
const graphicsSchema = z.object({ controllers: z.array(z.unknown()) });

export type AppleGpuOptions = { clock: Clock; onFault: (error: unknown) => void; /** Systeminformation's; loaded on macOS only. */ graphics?: () => Promise<unknown> };

/** Graphics of a Mac. Nothing is known of the memory of those that share the machine's: that is null, and no second memory to put models in. */
export class AppleGpu implements GpuSource {
  readonly #options: AppleGpuOptions;
  #known: { gpus: Promise<GpuSample[]>; askAgainAtMs: number } | null = null;

  constructor(options: AppleGpuOptions) {
    this.#options = options;
  }

  async gpus(): Promise<GpuSample[]> {
    const { clock } = this.#options;
    const now = clock.monotonicMs();
    if (this.#known === null || now >= this.#known.askAgainAtMs) this.#known = { gpus: this.#ask(), askAgainAtMs: now + askAgainMs };
    return await this.#known.gpus;
  }

  /** Not told by macOS. */
  memoryOf(): Promise<null> {
    return Promise.resolve(null);
  }

  async #ask(): Promise<GpuSample[]> {
    const { graphics, onFault } = this.#options;
    try {
      if (graphics) return toGpus(await graphics());
      if (platform() !== 'darwin') return [];
      const library = await import('systeminformation');
      return toGpus(await library.default.graphics());
    } catch (error) {
      onFault(error);
      return [];
    }
  }
}

export function toGpus(graphics: unknown): GpuSample[] {
  const { controllers } = graphicsSchema.catch({ controllers: [] }).parse(graphics);
  return controllers.flatMap((controller, index): GpuSample[] => {
    const parsed = controllerSchema.safeParse(controller);
    if (!parsed.success || parsed.data.model === '') return [];
    const { model, cores, vram, vramDynamic, bus, memoryUsed, utilizationGpu, temperatureGpu, powerDraw } = parsed.data;
    // 0 is its word for what it does not know.
    const ownMebibytes = vramDynamic || bus === 'Built-In' || vram === 0 ? null : vram;
    return [{
      index,
      // They have no id of their own; the order is that of the machine.
      uuid: `mac-${index}`,
      name: cores === null ? model : `${model} (${cores} cores)`,
      memoryTotalBytes: toBytes(ownMebibytes),
      memoryUsedBytes: ownMebibytes === null ? null : toBytes(memoryUsed),
      utilizationPercent: utilizationGpu,
      temperatureCelsius: temperatureGpu,
      powerWatts: powerDraw,
    }];
  });
}

const toBytes = (mebibytes: number | null): number | null => (mebibytes === null ? null : mebibytes * mebibyte);
