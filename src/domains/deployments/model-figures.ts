import { open, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AppError } from '../../shared/errors.ts';
import type { ByteSource } from '../../shared/gguf/byte-cursor.ts';
import { GgufError } from '../../shared/gguf/errors.ts';
import { readGgufHeader } from '../../shared/gguf/header.ts';
import type { ModelFigures } from '../../shared/gguf/memory.ts';
import { readConfigFigures, type ConfigFigures } from '../../shared/safetensors/figures.ts';
import { readSafetensorsHeader, SafetensorsError } from '../../shared/safetensors/header.ts';
import type { ModelFiles } from './installed-choice.ts';

const figuresKept = 64;
const configBytesMax = 1024 * 1024;

/** Reads what decides the memory of an installed model, and checks its headers by that before any engine sees the files. */
export class ModelFigureReader {
  /** By path, size, time and inode of the file that it was read from. */
  readonly #known = new Map<string, ModelFigures>();

  /** `tensorBytes` is 0 where the files weigh what the weights do. Throws UNSUPPORTED_MODEL, MODEL_NOT_INSTALLED. */
  async read({ path, parts }: ModelFiles): Promise<ModelFigures> {
    if (parts === null) return await this.#of(path, (source) => readGgufHeader(source));
    const config = await readConfig(join(dirname(path), 'config.json'));
    let tensorBytes = 0;
    for (const part of parts) {
      tensorBytes += (await this.#of(part, async (source) => ({ ...config, tensorBytes: (await readSafetensorsHeader(source)).loadedBytes }))).tensorBytes;
    }
    return { ...config, tensorBytes };
  }

  async #of(path: string, parse: (source: ByteSource) => Promise<ModelFigures>): Promise<ModelFigures> {
    await using file = await openModelFile(path);
    const { size, mtimeMs, ino } = await file.stat();
    const key = `${path}\0${size}\0${mtimeMs}\0${ino}`;
    const known = this.#known.get(key);
    if (known) return known;
    const figures = await parse({ size, readAt: (offset, length) => readAt(file, offset, length) }).catch((cause: unknown) => {
      if (cause instanceof GgufError || cause instanceof SafetensorsError) throw new AppError('UNSUPPORTED_MODEL', `The model's file cannot be used: ${cause.message}`, { cause });
      throw cause;
    });
    const oldest = this.#known.keys().next();
    if (this.#known.size >= figuresKept && !oldest.done) this.#known.delete(oldest.value);
    this.#known.set(key, figures);
    return figures;
  }
}

/** Of a model in safetensors, whose weights do not tell how it is built. Throws UNSUPPORTED_MODEL. */
export async function readConfig(path: string): Promise<ConfigFigures> {
  const text = await readStart(path).catch(() => null);
  const figures = text === null ? null : readConfigFigures(text);
  if (figures === null) throw new AppError('UNSUPPORTED_MODEL', 'The model has no config.json beside its weights that could be read.');
  return figures;
}

async function readStart(path: string): Promise<string> {
  await using file = await open(path, 'r');
  return Buffer.from(await readAt(file, 0, configBytesMax)).toString('utf8');
}

async function openModelFile(path: string): Promise<FileHandle> {
  return await open(path, 'r').catch((cause: unknown) => {
    throw new AppError('MODEL_NOT_INSTALLED', 'The file of the model cannot be opened; verify or download it again.', { cause });
  });
}

async function readAt(file: FileHandle, offset: number, length: number): Promise<Uint8Array> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, offset);
  return buffer.subarray(0, bytesRead);
}
