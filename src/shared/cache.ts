export type CacheOptions = {
  /** After this the value is stale and is fetched again. */
  ttlSeconds: number;
  /** How long a stale value is still served while the factory fails or is slow. */
  graceSeconds: number;
  /** A caller that has a stale value waits no longer than this for the fresh one. */
  softTimeoutMs: number;
  tags?: readonly string[];
};

export type CacheHit<T> = { value: T; /** Not fetched by this call. */ cached: boolean; /** Past its ttl. */ stale: boolean };

/** Values are JSON-safe; equal keys that miss together run one factory. Bounded by the implementation. */
export type Cache = {
  getOrSet<T>(key: string, factory: (signal: AbortSignal) => Promise<T>, options: CacheOptions, signal: AbortSignal): Promise<CacheHit<T>>;
  delete(key: string): Promise<void>;
  deleteByTag(tag: string): Promise<void>;
};
