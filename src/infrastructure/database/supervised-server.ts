import { sleep } from '../../shared/async.ts';
import { StopReason } from '../../shared/abort.ts';
import { identifyProcess } from '../../platform/process-identity.ts';
import { isPostmasterOf, stopPostmaster } from './postmaster.ts';
import { launch, urlOf } from './postgres-server.ts';
import type { RunningServer, ServerContext } from './postgres-server.ts';

/** An adopted server is not our child: nobody tells us when it ends. */
const lookEveryMs = 2_000;
const pauseMsMax = 30_000;

/**
 * A running server of ours. One that ends by itself (killed for memory, say) is started again on the same port, so
 * that the connections of the pools find it again.
 */
export class SupervisedServer {
  /** True when the server of an earlier start was still running and has been taken over. */
  readonly adopted: boolean;
  readonly #context: ServerContext;
  readonly #stopped = new AbortController();
  #running: RunningServer;
  #restarting: Promise<void> = Promise.resolve();
  #look: NodeJS.Timeout | undefined;

  constructor(context: ServerContext, running: RunningServer) {
    this.#context = context;
    this.#running = running;
    this.adopted = running.child === null;
    this.#watch(running);
  }

  get pid(): number {
    return this.#running.pid;
  }

  url(database: string): string {
    return urlOf(this.#context, this.#running.port, database);
  }

  /** Fast shutdown; an immediate one when the signal aborts first. */
  async stop(signal: AbortSignal): Promise<void> {
    this.#stopped.abort(new StopReason('shutdown'));
    clearInterval(this.#look);
    await this.#restarting;
    if (await isPostmasterOf(this.#running.pid, this.#context.cluster)) await stopPostmaster(this.#running.pid, signal);
    this.#context.log.close();
  }

  #watch(running: RunningServer): void {
    if (running.child) {
      const { child } = running;
      if (child.exitCode !== null || child.signalCode !== null) this.#ended();
      else child.once('exit', () => this.#ended());
      return;
    }
    this.#look = setInterval(() => {
      void identifyProcess(running.pid).then((found) => {
        if (found !== null || running !== this.#running) return;
        clearInterval(this.#look);
        this.#ended();
      });
    }, lookEveryMs).unref();
  }

  #ended(): void {
    if (this.#stopped.signal.aborted) return;
    this.#context.options.logger.error({ pid: this.#running.pid }, 'the database server ended by itself; starting it again');
    this.#restarting = this.#restart();
  }

  async #restart(): Promise<void> {
    const { signal } = this.#stopped;
    const { logger } = this.#context.options;
    for (let pauseMs = 500; !signal.aborted; pauseMs = Math.min(pauseMs * 2, pauseMsMax)) {
      try {
        this.#running = await launch(this.#context, signal, this.#running.port);
        logger.warn({ pid: this.#running.pid }, 'the database server runs again');
        this.#watch(this.#running);
        return;
      } catch (error) {
        if (this.#stopped.signal.aborted) return;
        logger.error({ error }, 'the database server could not be started again; trying once more');
      }
      await sleep(pauseMs, signal).catch(() => undefined);
    }
  }
}
