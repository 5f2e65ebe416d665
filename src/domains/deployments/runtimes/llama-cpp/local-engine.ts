import type { ProcessIdentity } from '../../../../platform/process-identity.ts';

export type EngineExit = { code: number | null; signal: NodeJS.Signals | null };

/** A server of one model on a loopback port, in a process group of its own: the embedded engine or llama-server. */
export type LocalEngine = ProcessIdentity & {
  program: 'embedded' | 'llama-server';
  port: number;
  /** Tokens of each parallel answer. */
  contextSize: number;
  /** `Authorization: Bearer <secret>` of every request but `/health`. */
  secret: string;
  /** Resolves, never rejects, when the process has ended for whatever reason. */
  onExit: Promise<EngineExit>;
  /** Running answers get `drainMs`; resolves when the process has ended, killed if need be. An abort kills at once. */
  stop(drainMs: number, signal?: AbortSignal): Promise<EngineExit>;
  /** SIGKILL to the whole process group. */
  kill(): void;
  /** Lets it serve on without this process, for so long until another one takes it over. */
  release(graceMs: number): Promise<void>;
};
