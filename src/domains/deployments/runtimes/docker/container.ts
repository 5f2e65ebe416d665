import { PassThrough } from 'node:stream';
import { sleep } from '../../../../shared/async.ts';
import type { LogLevel } from '../../../../shared/event-bus.ts';
import type { RuntimeExit } from '../../runtime.ts';
import type { DeploymentUseView } from '../../types.ts';
import { parseEngineLine } from '../../logs/log-line.ts';
import { dockerFault, isAway, type DockerEngine } from './docker-engine.ts';
import { readLines } from './output-lines.ts';

export type ContainerLog = (stream: 'stdout' | 'stderr' | 'supervisor', level: LogLevel, message: string) => void;

/** How soon a daemon that is away, or a stream that has ended, is asked again. */
const retryMs = 1_000;
const lookAgainMs = 2_000;
const stopGraceSeconds = 5;
/** How long a stop waits for a daemon that is away; after that the container is removed when the daemon is back. */
const awayMsMax = 3_000;

/** Follows one container of ours from the outside: its end, its output, its use. */
export class WatchedContainer {
  readonly id: string;
  readonly exited: Promise<RuntimeExit>;
  readonly #engine: DockerEngine;
  readonly #log: ContainerLog;
  readonly #over = new AbortController();
  #logsSince: number;
  #removing: Promise<void> | null = null;

  /** `logsSince`: seconds since 1970; only what it has written after that is told. */
  constructor(engine: DockerEngine, id: string, log: ContainerLog, logsSince: number) {
    this.#engine = engine;
    this.id = id;
    this.#log = log;
    this.#logsSince = logsSince;
    this.exited = this.#untilExit();
    void this.#followLogs();
  }

  /** Stops watching; the container goes on. `exited` does not resolve any more. */
  letGo(): void {
    this.#over.abort();
  }

  /** Ends and removes it. Never rejects: where the daemon is away it is removed as soon as the daemon is back. */
  async end(isQuick: boolean, signal: AbortSignal): Promise<void> {
    const container = this.#engine.client.getContainer(this.id);
    if (!isQuick && !signal.aborted) {
      // 304 and 404: it has ended already. A daemon that hangs answers never.
      const stopped = container.stop({ t: stopGraceSeconds }).catch(() => undefined);
      await atMost(stopGraceSeconds * 1_000 + awayMsMax, Promise.race([stopped, whenAborted(signal)]));
    }
    this.#removing ??= removeForGood(this.#engine, this.id, this.#log).then(() => this.#over.abort());
    await atMost(awayMsMax, this.#removing);
  }

  async use(): Promise<DeploymentUseView> {
    const stats = (await this.#engine.quick.getContainer(this.id).stats({ stream: false })) as Stats;
    return { cpuPercent: cpuShare(stats), memoryBytes: memoryOf(stats), gpuMemoryBytes: null };
  }

  async #untilExit(): Promise<RuntimeExit> {
    let wasAway = false;
    for (;;) {
      try {
        const { State: state } = (await this.#engine.inspect(this.id)) ?? { State: null };
        if (state === null) return await this.#ended({ code: null, signal: null, reason: 'The container was removed by someone else.' });
        if (wasAway) this.#log('supervisor', 'info', 'The Docker Engine answers again.');
        wasAway = false;
        if (!state.Running && state.Status !== 'created') {
          const reason = state.OOMKilled ? 'The container took more memory than it may and was killed.' : state.Error === '' ? null : state.Error;
          return await this.#ended({ code: state.ExitCode, signal: null, reason });
        }
        await this.#waitAWhile();
      } catch (error) {
        // A daemon that restarts: what became of the container is known when it is back.
        if (!wasAway && !this.#over.signal.aborted) this.#log('supervisor', 'warn', `The Docker Engine is away: ${dockerFault(error).message}`);
        wasAway = true;
        await unrefPause(retryMs);
      }
      if (this.#over.signal.aborted) return await this.#ended({ code: null, signal: null, reason: null });
    }
  }

  /** Until it ends, but no longer than a daemon's restart may go unseen: a wait whose daemon goes away never returns. */
  async #waitAWhile(): Promise<void> {
    const waiting = AbortSignal.any([this.#over.signal, AbortSignal.timeout(lookAgainMs)]);
    const ended = this.#engine.client.getContainer(this.id).wait({ abortSignal: waiting });
    await Promise.race([ended, whenAborted(waiting)]);
    ended.catch(() => undefined);
  }

  async #ended(exit: RuntimeExit): Promise<RuntimeExit> {
    if (this.#over.signal.aborted && this.#removing === null) return await Promise.withResolvers<RuntimeExit>().promise;
    return exit;
  }

  /** The engine's stream ends with the daemon and with the container; it goes on where it was. */
  async #followLogs(): Promise<void> {
    const container = this.#engine.client.getContainer(this.id);
    while (!this.#over.signal.aborted) {
      try {
        const raw = await container.logs({ follow: true, stdout: true, stderr: true, since: this.#logsSince, abortSignal: this.#over.signal });
        const ends = (['stdout', 'stderr'] as const).map((stream) => ({ stream, pipe: new PassThrough() }));
        const [out, error] = ends.map(({ pipe }) => pipe);
        if (!out || !error) return;
        this.#engine.client.modem.demuxStream(raw, out, error);
        const end = (): void => {
          out.end();
          error.end();
        };
        for (const event of ['close', 'end', 'error']) raw.once(event, end);
        await Promise.all(ends.map(({ stream, pipe }) => this.#copy(stream, pipe)));
        this.#logsSince = Math.floor(Date.now() / 1000);
      } catch {
        // Away, or gone: the watch above tells which.
      }
      const gone = await this.#engine.inspect(this.id).then((about) => about?.State.Running !== true, () => false);
      if (gone) return;
      await unrefPause(retryMs);
    }
  }

  async #copy(stream: 'stdout' | 'stderr', pipe: PassThrough): Promise<void> {
    for await (const line of readLines(pipe)) {
      const { level, message } = parseEngineLine(line);
      this.#log(stream, level, message);
    }
  }
}

/** Removes what must not be left; resolves after a few seconds at the latest, and goes on where the daemon is away. Never rejects. */
export async function removeContainer(engine: DockerEngine, id: string, log: ContainerLog): Promise<void> {
  await atMost(awayMsMax, removeForGood(engine, id, log));
}

async function removeForGood(engine: DockerEngine, id: string, log: ContainerLog): Promise<void> {
  for (;;) {
    try {
      await engine.remove(id);
      return;
    } catch (error) {
      if (!isAway(error)) log('supervisor', 'warn', `The container could not be removed: ${dockerFault(error).message}`);
      await unrefPause(retryMs);
    }
  }
}

/** Resolves with the work or after `durationMs`; the work goes on. */
async function atMost(durationMs: number, work: Promise<unknown>): Promise<void> {
  const waiting = new AbortController();
  await Promise.race([work, sleep(durationMs, waiting.signal).catch(() => undefined)]);
  waiting.abort();
}

type Stats = {
  cpu_stats: { cpu_usage: { total_usage: number }; system_cpu_usage?: number };
  precpu_stats: { cpu_usage: { total_usage: number }; system_cpu_usage?: number };
  memory_stats: { usage?: number; stats?: { inactive_file?: number; total_inactive_file?: number } };
};

/** Of all cores together, as for engines that are processes. */
function cpuShare({ cpu_stats: now, precpu_stats: before }: Stats): number | null {
  const system = (now.system_cpu_usage ?? 0) - (before.system_cpu_usage ?? 0);
  if (system <= 0 || before.system_cpu_usage === undefined) return null;
  const share = ((now.cpu_usage.total_usage - before.cpu_usage.total_usage) / system) * 100;
  return Math.min(100, Math.max(0, Math.round(share * 10) / 10));
}

/** Without files that the kernel may drop. */
function memoryOf({ memory_stats: memory }: Stats): number | null {
  return memory.usage === undefined ? null : Math.max(0, memory.usage - (memory.stats?.inactive_file ?? memory.stats?.total_inactive_file ?? 0));
}

async function whenAborted(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  signal.addEventListener('abort', () => resolve(undefined), { once: true });
  await promise;
}

/** Must not keep a service alive that has nothing else to do. */
async function unrefPause(durationMs: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  setTimeout(() => resolve(undefined), durationMs).unref();
  await promise;
}
