import type { AuditOutcome } from './audit-log.ts';
import type { ResourcesSample } from './resources-sample.ts';

/**
 * Live events are hints: the truth is in the database, and whoever missed one reads the row again. Payloads are
 * JSON-safe, because in production they travel through Redis. Keyed by the id of what they speak about.
 */
export type EventMap = {
  /** Bytes and speed of a task moved; at most a few a second per task leave the downloader. */
  'download.progress': { taskId: string; progress: DownloadFigures };
  /** The task's row changed (status, priority, error) or went away. */
  'download.changed': { taskId: string; status: string; removed?: boolean };
  /** A limit of speed was changed: of that task, or over all. Whoever runs downloads goes by it from now on. */
  'download.limited': { taskId: string | null; maxBytesPerSecond: number | null };
  'deployment.changed': { deploymentId: string; status: string; removed?: boolean };
  'deployment.log': { deploymentId: string; line: LogLine };
  /** A message of the session was added or ended, or the session itself changed or went away. */
  'chat.session_changed': { sessionId: string; messageId: string | null; removed?: boolean };
  /** Somebody wants the answer stopped; whichever process makes it hears so. */
  'chat.stop_requested': { messageId: string };
  /** Somebody reads an answer that another process makes; told again and again, where unread ones are stopped. */
  'chat.read': { messageId: string };
  /** A command for a deployment is written in its row; the process that runs it looks there. */
  'deployment.command': { deploymentId: string };
  /** A key was revoked or changed: sockets that it opened look at it again. */
  'access.key_changed': { keyId: string };
  /** An entry of the audit log was stored. */
  'audit.logged': { entry: LoggedEntry };
  /** An alert was raised (`firing`), acknowledged or resolved. */
  'alert.changed': { alertId: string; status: string };
  /** A rule of alerts was made, changed or removed. */
  'alert.rules_changed': { ruleId: string };
  'system.sampled': { sample: ResourcesSample };
};

export type Topic = keyof EventMap;

/** A stored row of the audit log. */
export type LoggedEntry = {
  id: string;
  /** ISO 8601 UTC. */
  at: string;
  actorKeyId: string | null;
  actorOwner: string | null;
  actorName: string | null;
  actorRole: string | null;
  action: string;
  targetKind: string | null;
  targetId: string | null;
  outcome: AuditOutcome;
  errorCode: string | null;
  count: number;
  requestId: string;
  peerAddress: string | null;
};

export type FileFigures = { path: string; downloadedBytes: number; status: string };

export type DownloadFigures = {
  downloadedBytes: number;
  totalBytes: number | null;
  /** Over the last 5 s; 0 when nothing comes. */
  speedBytesPerSecond: number;
  etaSeconds: number | null;
  files: readonly FileFigures[];
};

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export type LogLine = {
  /** ISO 8601 UTC. */
  time: string;
  stream: 'stdout' | 'stderr' | 'supervisor';
  level: LogLevel;
  message: string;
  /** Which start of the deployment wrote it, counted from 1. */
  run: number;
  /** Position in the deployment's log, for paging and following; opaque. */
  cursor: string;
};

/**
 * `latest`: one waiting event per key at most, the newest wins. `all`: a bounded queue; when it is full the oldest
 * ones go and the next delivery says how many.
 */
export type SubscribeOptions = {
  /** Only events of this id; all when left out. */
  key?: string;
  delivery: 'latest' | 'all';
  /** `latest` only: no more than one delivery per key in this time. */
  minIntervalMs?: number;
  /** `all` only; default 1,000. */
  queueMax?: number;
};

export type Delivery<T extends Topic> =
  | { type: 'event'; payload: EventMap[T]; droppedBefore: number }
  /** The connection to the other processes was lost for a while: read the state again. */
  | { type: 'resync' };

export type EventBus = {
  /** Never throws to a publisher and never waits for a subscriber; `key` is the id that `subscribe` filters by. */
  publish<T extends Topic>(topic: T, key: string, payload: EventMap[T]): void;
  /**
   * Subscribed from the moment of the call (not of the first `next()`), until the iterator returns or the signal
   * aborts, which ends it quietly. A subscriber that stops pulling holds its bounded queue and nothing else.
   */
  subscribe<T extends Topic>(topic: T, options: SubscribeOptions, signal: AbortSignal): AsyncIterableIterator<Delivery<T>>;
  close(): Promise<void>;
};
