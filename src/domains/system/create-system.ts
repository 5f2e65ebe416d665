import { platform } from 'node:os';
import type { Clock } from '../../shared/clock.ts';
import type { EventBus } from '../../shared/event-bus.ts';
import type { Logger } from '../../shared/logger.ts';
import type { DeploymentUse, GpuSample } from '../../shared/resources-sample.ts';
import type { Host } from './host.ts';
import { createLinuxHost } from './linux-host.ts';
import { AppleGpu } from './apple-gpu.ts';
import { allGpus } from './gpu-program.ts';
import { NvidiaSmi } from './nvidia-smi.ts';
import { createPortableHost } from './portable-host.ts';
import { RocmSmi } from './rocm-smi.ts';
import { Sampler, type WatchedDisk } from './sampler.ts';
import { SystemService } from './system.service.ts';
import type { System } from './types.ts';

export type SystemDeps = {
  events: EventBus;
  clock: Clock;
  logger: Logger;
  disks: readonly WatchedDisk[];
  /** Bytes that unfinished downloads still need under this path; default none. */
  reservedBytes?: (path: string) => Promise<number>;
  /** What running deployments use; a function, because their room is made after this one. */
  deployments?: () => Promise<readonly DeploymentUse[]>;
  host?: Host;
  nvidiaSmi?: string;
  rocmSmi?: string;
};

export type SystemRoom = {
  system: System;
  /** What is free for a model right now. */
  machineMemory: () => Promise<{ availableBytes: number; gpuFreeBytes: number | null }>;
  /** Bytes that a process holds on graphics cards; null where that cannot be told. */
  gpuMemoryOf: (pid: number) => Promise<number | null>;
  /** What starting a model needs to know of the machine. */
  forModels: { machineMemory: SystemRoom['machineMemory']; gpus: () => Promise<readonly GpuSample[]> };
  /** Resolves with the first sample taken. */
  start: () => Promise<void>;
  stop: () => Promise<void>;
};

export function createSystem(deps: SystemDeps): SystemRoom {
  const { events, clock, logger, disks } = deps;
  const host = deps.host ?? (platform() === 'linux' ? createLinuxHost() : createPortableHost());
  const faultOf = (program: string) => (error: unknown): void => logger.warn({ err: error }, `${program} gave no figures`);
  // Those that a model can be given by their number; a Mac's cannot be chosen.
  const cardsToChoose = allGpus([
    new NvidiaSmi({ clock, onFault: faultOf('nvidia-smi'), ...(deps.nvidiaSmi === undefined ? {} : { command: deps.nvidiaSmi }) }),
    new RocmSmi({ clock, onFault: faultOf('rocm-smi'), ...(deps.rocmSmi === undefined ? {} : { command: deps.rocmSmi }) }),
  ]);
  const gpus = allGpus([cardsToChoose, new AppleGpu({ clock, onFault: faultOf('systeminformation') })]);
  const sampler = new Sampler({
    host,
    gpus,
    clock,
    disks,
    reservedBytes: deps.reservedBytes ?? (() => Promise.resolve(0)),
    deployments: deps.deployments ?? (() => Promise.resolve([])),
  });
  const system = new SystemService({ sampler, events, clock, logger });
  const machineMemory: SystemRoom['machineMemory'] = async () => {
    const [memory, cards] = await Promise.all([host.memory(), gpus.gpus()]);
    return { availableBytes: memory.availableBytes, gpuFreeBytes: freeBytesOf(cards) };
  };
  return { system, machineMemory, gpuMemoryOf: (pid) => gpus.memoryOf(pid), forModels: { machineMemory, gpus: () => cardsToChoose.gpus() }, start: () => system.start(), stop: () => system.stop() };
}

/** Of the cards that have memory of their own and tell how much of it is free; null where none does. */
function freeBytesOf(cards: readonly GpuSample[]): number | null {
  const free = cards.flatMap(({ memoryTotalBytes, memoryUsedBytes }) => (memoryTotalBytes === null || memoryUsedBytes === null ? [] : [memoryTotalBytes - memoryUsedBytes]));
  return free.length === 0 ? null : free.reduce((sum, bytes) => sum + bytes, 0);
}
