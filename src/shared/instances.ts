/** One running process of the service. Several may work on one database; each is a new one at each start. */
export type InstanceView = {
  id: string;
  /** Name of its machine (or container), for people and for what belongs to a machine beyond one start. */
  host: string;
  pid: number;
  startedAt: Date;
  /** Its processes and its loopback addresses are ours too. */
  isHere: boolean;
  isAlive: boolean;
};

/** Called again with the next look when it rejects, so it may be called more than once for one death. */
export type OnInstanceDeath = (instance: InstanceView) => Promise<void>;

/** Who else works on this database, and who did. */
export type Instances = {
  readonly self: { readonly id: string; readonly host: string };
  /** No other process can work on the database. */
  readonly isSole: boolean;
  /** Whether any living process of the service, this one included, runs on that machine. */
  livesOn(host: string): Promise<boolean>;
  /** False for an id that nobody has, that said good-bye, or whose process has shown no sign of life for 10 s. */
  isAlive(id: string): Promise<boolean>;
  /** Null when nobody has the id, or had it so long ago that it is forgotten. */
  find(id: string): Promise<InstanceView | null>;
  /**
   * Tells of each process that died without a good-bye, some seconds after it did (at once when it ran on this
   * machine); every living process is told by itself. One that only stood still may live on after it was told dead,
   * so what its death is the reason for must be a compare-and-set. Returns what ends the telling.
   */
  onDeath(listener: OnInstanceDeath): () => void;
};
