import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { AppError } from '../../../shared/errors.ts';
import type { FileScanner, ScanFinding } from '../file-scanner.ts';
import { extensionOf } from '../planning/file-formats.ts';
import { type ClamdClientOptions, type ClamdEndpoint, ClamdHangUp, scanStream } from './clamd-client.ts';
import { quoted } from './refusal.ts';

export type ClamdScannerOptions = { endpoint: ClamdEndpoint; idleMs?: number; wholeBytesMax?: number; weightsBytesMax?: number };

/** A daemon with its full set of signatures needs some seconds for a file of this size; a stuck one is not waited for. */
const idleMsDefault = 120_000;
/** Below what daemons take as they are installed (25 MB and more). */
const wholeBytesMaxDefault = 24 * 1024 * 1024;
/** Weights are numbers; what a virus could hide in is their header. */
const weightsBytesMaxDefault = 8 * 1024 * 1024;
const chunkBytes = 256 * 1024;

/** Looks for known viruses with a ClamAV daemon. While that is away nothing is clean: the download waits for it. */
export function createClamdScanner({ endpoint, idleMs = idleMsDefault, wholeBytesMax = wholeBytesMaxDefault, weightsBytesMax = weightsBytesMaxDefault }: ClamdScannerOptions): FileScanner {
  return {
    id: 'clamav',
    version: '1',
    accepts: () => true,
    scan: async ({ path, file, sizeBytes }, signal) => {
      signal.throwIfAborted();
      const areWeights = ['gguf', 'safetensors'].includes(extensionOf(path));
      const bytes = Math.min(sizeBytes, areWeights ? weightsBytesMax : wholeBytesMax);
      const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
      try {
        const findings = await look(path, chunksOf(handle, bytes), { endpoint, idleMs }, signal);
        return [...findings, ...(bytes < sizeBytes ? [partial(path, bytes, areWeights)] : [])];
      } finally {
        await handle.close();
      }
    },
  };
}

async function look(path: string, chunks: AsyncIterable<Buffer>, options: ClamdClientOptions, signal: AbortSignal): Promise<ScanFinding[]> {
  try {
    return judge(path, await scanStream(chunks, options, signal));
  } catch (error) {
    if (!(error instanceof ClamdHangUp)) throw error;
    return [{ rule: 'clamav.error', severity: 'not_scanned', message: `ClamAV broke off while it was shown ${path}; it may be larger than the daemon's own limit.` }];
  }
}

async function* chunksOf(handle: FileHandle, length: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < length; ) {
    const buffer = Buffer.allocUnsafe(Math.min(chunkBytes, length - at));
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) return;
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/** Only the one answer that says so means that nothing was found. */
function judge(path: string, line: string): ScanFinding[] {
  const answer = line.trim();
  if (/^stream: OK$/.test(answer)) return [];
  const found = /^stream: (.+) FOUND$/.exec(answer)?.[1];
  if (found !== undefined) return [{ rule: 'clamav.found', severity: 'block', message: `ClamAV finds ${quoted(found)} in ${path}.` }];
  if (answer.endsWith('ERROR')) return [{ rule: 'clamav.error', severity: 'not_scanned', message: `ClamAV could not look into ${path}: ${quoted(answer)}.` }];
  throw new AppError('RUNTIME_UNAVAILABLE', 'What answers as the ClamAV daemon is something else.', { internal: answer.slice(0, 200) });
}

/** Of weights the rest is compared with what their header says, by scanners of our own. */
function partial(path: string, bytes: number, areWeights: boolean): ScanFinding {
  const message = `ClamAV was shown the first ${Math.round(bytes / 1024 / 1024)} MiB of ${path}, not all of it.`;
  return { rule: 'clamav.partial', severity: areWeights ? 'info' : 'not_scanned', message };
}
