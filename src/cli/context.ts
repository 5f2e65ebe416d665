import type { Flags } from './flags.ts';
import type { Interrupts } from './interrupts.ts';
import type { Output } from './output.ts';
import type { ServiceClient } from './service-client.ts';

/** What every command gets. */
export type CommandContext = {
  readonly output: Output;
  readonly interrupts: Interrupts;
  /** Aborts when the program is to end. */
  readonly signal: AbortSignal;
  readonly flags: Flags;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly stdin: NodeJS.ReadStream;
  /** The service that runs; throws when none is reachable. */
  readonly connect: () => Promise<ServiceClient>;
};

/** Carries a command out; answers the exit code where it is not 0. */
export type Handler = (context: CommandContext, args: readonly string[]) => Promise<number | undefined>;
