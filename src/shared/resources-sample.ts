/** What the machine and this service use at one moment. Sizes in bytes, percentages 0..100 of all cores together. */
export type ResourcesSample = {
  cpu: { model: string; cores: number; percent: number; loadAverage: readonly [number, number, number] };
  memory: { totalBytes: number; availableBytes: number; usedBytes: number; swapTotalBytes: number; swapUsedBytes: number };
  disks: readonly DiskSample[];
  gpus: readonly GpuSample[];
  network: { receivedBytesPerSecond: number; sentBytesPerSecond: number } | null;
  process: { pid: number; uptimeSeconds: number; memoryBytes: number; cpuPercent: number; openFiles: number | null; eventLoopDelayMs: number };
  deployments: readonly DeploymentUse[];
  /** ISO 8601 UTC. */
  collectedAt: string;
};

export type DiskSample = { path: string; purpose: 'data' | 'models'; totalBytes: number; availableBytes: number; usedBytes: number; reservedBytes: number };

export type GpuSample = {
  index: number;
  uuid: string;
  name: string;
  /** Null where it has none of its own, or does not tell: a Mac's graphics use the machine's. */
  memoryTotalBytes: number | null;
  memoryUsedBytes: number | null;
  utilizationPercent: number | null;
  temperatureCelsius: number | null;
  powerWatts: number | null;
};

export type DeploymentUse = { deploymentId: string; name: string; cpuPercent: number | null; memoryBytes: number | null; gpuMemoryBytes: number | null };
