import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readBootId } from '../../../src/domains/downloads/transfer/boot-id.ts';
import type { ByteSource } from '../../../src/domains/downloads/transfer/byte-source.ts';
import { createByteSource } from '../../../src/domains/downloads/transfer/choose-byte-source.ts';
import { defaultTransferSettings, type FileTransferJob, type TransferDeps, transferFile, type TransferSettings } from '../../../src/domains/downloads/transfer/file-transfer.ts';
import { HostSlots } from '../../../src/domains/downloads/transfer/host-slots.ts';
import type { FileIdentity } from '../../../src/domains/downloads/transfer/sidecar.ts';
import { systemClock } from '../../../src/infrastructure/system-clock.ts';
import { seededContent, sha256Of } from '../hub/content.ts';
import type { Hub, HubRepo } from '../hub/hub.ts';
import { silentLogger } from '../silent-logger.ts';
import { locateOnHub } from './hub-locate.ts';

export const MiB = 1024 * 1024;

/** Quick enough for a test to wait for, otherwise as the service has them. */
export const quickSettings: TransferSettings = {
  ...defaultTransferSettings,
  partBytes: MiB,
  pieceBytes: MiB,
  bytesPerConnection: MiB,
  stallMs: 5_000,
  backoff: { baseMs: 5, maxMs: 50 },
};

export type TestFile = { repo: HubRepo; identity: FileIdentity };

/** A repository with one file of noise. */
export function addNoise(hub: Hub, sizeBytes: number, seed = 'noise'): TestFile {
  const content = seededContent(seed, sizeBytes);
  const repo = hub.addRepo({ id: `test/${seed}`, files: [{ path: 'model.gguf', content }] });
  const identity = { modelId: `huggingface:test/${seed}`, revision: repo.sha, path: 'model.gguf', sizeBytes, sha256: sha256Of(content), gitSha1: null };
  return { repo, identity };
}

export const sourceOptions = { connectTimeoutMs: 2000, userAgent: 'llm-manager/test' };

export type Engine = { deps: TransferDeps; close(): Promise<void> };

export async function createEngine(settings: Partial<TransferSettings> = {}, bytes: ByteSource = createByteSource(sourceOptions)): Promise<Engine> {
  const merged = { ...quickSettings, ...settings };
  const deps: TransferDeps = { bytes, slots: new HostSlots(systemClock, merged.connections), clock: systemClock, logger: silentLogger, bootId: readBootId(), settings: merged };
  return { deps, close: () => bytes.close() };
}

export type JobOptions = { folder: string; hub: Hub; file: TestFile } & Partial<FileTransferJob>;

export function jobFor({ folder, hub, file, ...rest }: JobOptions): FileTransferJob {
  const ref = { source: 'huggingface', name: file.repo.id, revision: null };
  return {
    partPath: join(folder, `${file.identity.sha256 ?? 'file'}.part`),
    owner: file.repo.id,
    identity: file.identity,
    locate: (signal) => locateOnHub(hub.endpoint, { ref, revision: file.identity.revision, path: file.identity.path }, signal),
    limits: [],
    onProgress: () => {},
    onVerifying: () => {},
    ...rest,
  };
}

export async function fetchFile(job: FileTransferJob, engine: Engine, signal: AbortSignal = AbortSignal.timeout(25_000)): Promise<{ sha256: string }> {
  return await transferFile(job, engine.deps, signal);
}

export function sha256OfFile(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}
