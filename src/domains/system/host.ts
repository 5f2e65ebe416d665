/** What the machine as a whole does; processor time as counters, of which two readings make a share. */
export type HostMemory = { totalBytes: number; availableBytes: number; swapTotalBytes: number; swapUsedBytes: number };
export type CpuTimes = { busy: number; total: number };
export type NetworkCounters = { receivedBytes: number; sentBytes: number };

/** The operating system's own figures. `linux-host.ts` reads them from /proc; `portable-host.ts` is what `os` offers. */
export type Host = {
  memory(): Promise<HostMemory>;
  cpuTimes(): Promise<CpuTimes>;
  /** Null where it cannot be told. */
  network(): Promise<NetworkCounters | null>;
  /** Open files of this process, null where it cannot be told. */
  openFiles(): Promise<number | null>;
};
