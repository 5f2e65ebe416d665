import { setTimeout as delay } from 'node:timers/promises';
import { isSameProcess } from '../../../../platform/process-identity.ts';
import type { ProcessIdentity } from '../../../../platform/process-identity.ts';
import type { OutgoingHttp } from '../../../../shared/outgoing-http.ts';
import { signalGroup } from './engine-child.ts';
import { endGraceMs, holdEngine } from './engine-process.ts';
import type { EngineExit, LocalEngine } from './local-engine.ts';
import { leasePath } from './protocol.ts';

/** Where an engine serves that another process has started. */
export type EngineAddress = ProcessIdentity & { port: number; secret: string; contextSize: number };

/** Its end is not reported to a process that is not its parent, so that one looks. */
const exitPollMs = 250;
/** Of the grace that the engine gives a service: so many renewals may fail. */
const renewalsPerGrace = 4;
const leaseBytesMax = 1_024;

/**
 * Takes over an engine that an earlier service left running, and holds it from now on; null when that process is no
 * more. Rejects when it does not answer, or not to this secret.
 */
export async function adoptEngine(engine: EngineAddress, deps: { http: OutgoingHttp; orphanGraceMs: number }, signal: AbortSignal): Promise<LocalEngine | null> {
  if (!(await isSameProcess(engine))) return null;
  await renewLease(engine, deps.http, {}, signal);
  const over = new AbortController();
  const holding = setInterval(() => {
    // One that fails is followed by another; an engine that answers none of them is found by its health checks.
    renewLease(engine, deps.http, {}, over.signal).catch(() => undefined);
  }, deps.orphanGraceMs / renewalsPerGrace).unref();
  const letGo = (): void => {
    clearInterval(holding);
    over.abort();
  };
  const onExit = watchExit(engine, over.signal);
  const letEnd = holdEngine(engine.pid, onExit);
  void onExit.then(letGo);
  const kill = (): void => void signalIfSame(engine, 'SIGKILL');
  return {
    ...engine,
    program: 'embedded',
    onExit,
    kill,
    stop: (drainMs, stopSignal) => stop(engine, onExit, drainMs, stopSignal),
    release: async (graceMs) => {
      await renewLease(engine, deps.http, { grace_ms: graceMs }, AbortSignal.timeout(endGraceMs));
      letGo();
      letEnd();
    },
  };
}

async function renewLease({ port, secret }: EngineAddress, http: OutgoingHttp, body: object, signal: AbortSignal): Promise<void> {
  const headers = { authorization: `Bearer ${secret}`, 'content-type': 'application/json' };
  const url = `http://127.0.0.1:${port}${leasePath}`;
  const { status } = await http({ method: 'POST', url, headers, body: JSON.stringify(body), maxBytes: leaseBytesMax, allowPrivate: true }, signal);
  if (status !== 200) throw new Error(`the engine answered ${status} when it was to be held`);
}

/** The end of a process that is not our child. Never resolves once it was let go. */
export async function watchExit(identity: ProcessIdentity, letGo: AbortSignal): Promise<EngineExit> {
  while (await isSameProcess(identity)) {
    await delay(exitPollMs, undefined, { ref: false });
    if (letGo.aborted) return await Promise.withResolvers<EngineExit>().promise;
  }
  return { code: null, signal: null };
}

async function stop(engine: ProcessIdentity, onExit: Promise<EngineExit>, drainMs: number, signal?: AbortSignal): Promise<EngineExit> {
  const kill = (): void => void signalIfSame(engine, 'SIGKILL');
  const timer = setTimeout(kill, drainMs + endGraceMs);
  signal?.addEventListener('abort', kill, { once: true });
  if (signal?.aborted) kill();
  await signalIfSame(engine, 'SIGTERM');
  const exit = await onExit;
  clearTimeout(timer);
  signal?.removeEventListener('abort', kill);
  return exit;
}

/** Its pid may belong to a stranger by now. */
export async function signalIfSame(engine: ProcessIdentity, signal: NodeJS.Signals): Promise<void> {
  if (await isSameProcess(engine)) signalGroup(engine.pid, signal);
}
