import { spawn } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Long enough for a service that was killed to come back and take its engines over. */
const graceSeconds = 60;

/**
 * $1 file with the pid of the service, $2 pid of the engine, $3 seconds; a file of both names says other seconds. In the shell, because it must outlive the
 * service and weigh nothing; the engine is somebody else's program and cannot watch for us.
 */
const script = `
away=0
while kill -0 "$2" 2>/dev/null; do
  if kill -0 "$(cat "$1" 2>/dev/null)" 2>/dev/null; then away=0; else away=$((away + 2)); fi
  if [ "$away" -ge "$(cat "$1.$2" 2>/dev/null || echo "$3")" ]; then rm -f "$1.$2"; kill -KILL "-$2" 2>/dev/null || kill -KILL "$2" 2>/dev/null; exit 0; fi
  sleep 2
done
rm -f "$1.$2"`;

const ownerFile = (runDir: string): string => join(runDir, 'service.pid');

/** Tells the guards of engines that an earlier service started, too, that a service is there again. */
export async function claimEngines(runDir: string): Promise<void> {
  await mkdir(runDir, { recursive: true, mode: 0o700 });
  await writeFile(ownerFile(runDir), `${process.pid}\n`, { mode: 0o600 });
}

/** The service ends and wants its guard to wait so long for the next one. */
export async function extendGuard(runDir: string, enginePid: number, graceMs: number): Promise<void> {
  await writeFile(`${ownerFile(runDir)}.${enginePid}`, `${Math.ceil(graceMs / 1000)}\n`, { mode: 0o600 });
}

/** The next service is there: from now on the usual time counts again. */
export async function resumeGuard(runDir: string, enginePid: number): Promise<void> {
  await claimEngines(runDir);
  await rm(`${ownerFile(runDir)}.${enginePid}`, { force: true });
}

/**
 * Watches over an engine that does not end by itself: when no service has claimed it for a minute it is killed.
 * Answers what ends the watch. Where there is no POSIX shell the engine is unguarded.
 */
export function guardEngine(runDir: string, enginePid: number, seconds = graceSeconds): () => void {
  if (process.platform === 'win32') return () => undefined;
  const guard = spawn('/bin/sh', ['-c', script, 'llm-manager-guard', ownerFile(runDir), String(enginePid), String(seconds)], {
    detached: true,
    stdio: 'ignore',
    env: { PATH: '/usr/bin:/bin' },
  });
  guard.on('error', () => undefined);
  guard.unref();
  return () => {
    if (guard.pid === undefined || guard.exitCode !== null || guard.signalCode !== null) return;
    try {
      process.kill(-guard.pid, 'SIGKILL');
    } catch {
      // It has ended.
    }
  };
}
