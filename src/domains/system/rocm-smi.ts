import * as z from 'zod';
import type { GpuSample } from '../../shared/resources-sample.ts';
import { figure, GpuProgram, type GpuProgramOptions, type GpuSource } from './gpu-program.ts';

const query = ['--showproductname', '--showuniqueid', '--showmeminfo', 'vram', '--showuse', '--showtemp', '--showpower', '--json'];
const cardName = /^card(\d+)$/;
const outputSchema = z.record(z.string(), z.record(z.string(), z.unknown()));

/** AMD's graphics cards as `rocm-smi` tells of them; none where there is no such program. */
export class RocmSmi implements GpuSource {
  readonly #program: GpuProgram;

  constructor(options: GpuProgramOptions) {
    this.#program = new GpuProgram('rocm-smi', options);
  }

  async gpus(): Promise<GpuSample[]> {
    const printed = await this.#program.ask(query);
    return printed === null ? [] : parseRocmSmi(printed);
  }

  /** Its list of processes tells of no more than the card that a process began with. */
  memoryOf(): Promise<null> {
    return Promise.resolve(null);
  }
}

/** Names of fields differ between versions and cards, so each figure is looked for under all that are known. */
export function parseRocmSmi(printed: string): GpuSample[] {
  const parsed = outputSchema.safeParse(jsonOf(printed));
  if (!parsed.success) return [];
  return Object.entries(parsed.data).flatMap(([name, card]) => {
    const index = cardName.exec(name)?.[1];
    const total = figure(card['VRAM Total Memory (B)']);
    if (index === undefined || total === null) return [];
    const uniqueId = textOf(card, ['Unique ID', 'GUID']);
    return {
      index: Number(index),
      uuid: uniqueId ?? name,
      name: textOf(card, ['Card Series', 'Card series', 'Device Name', 'Card Model', 'Card model', 'Card SKU']) ?? 'AMD graphics card',
      memoryTotalBytes: total,
      memoryUsedBytes: figure(card['VRAM Total Used Memory (B)']) ?? 0,
      utilizationPercent: figure(card['GPU use (%)']),
      temperatureCelsius: figure(card['Temperature (Sensor junction) (C)']) ?? figure(card['Temperature (Sensor edge) (C)']),
      powerWatts: figure(card['Average Graphics Package Power (W)']) ?? figure(card['Current Socket Graphics Package Power (W)']),
    };
  });
}

/** Some versions print warnings before the object. */
function jsonOf(printed: string): unknown {
  try {
    return JSON.parse(printed.slice(Math.max(0, printed.indexOf('{')))) as unknown;
  } catch {
    return null;
  }
}

function textOf(card: Record<string, unknown>, names: readonly string[]): string | null {
  for (const name of names) {
    const value = card[name];
    if (typeof value === 'string' && value.trim() !== '' && value !== 'N/A') return value.trim();
  }
  return null;
}
