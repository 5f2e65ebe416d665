/**
 * Numbers everything that a process makes last - renames, syncs, links, removals, some writes, commits - at the border
 * to the system, and kills the process with SIGKILL just before one of them. What is tested knows nothing of it.
 */
import promises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';

type Step = (what: string) => void;
type Method = (...values: never[]) => unknown;

/** Data comes in many writes: the first, and one now and then. */
const writesPerStep = 16;

function onEach<Name extends string>(target: Record<Name, Method>, name: Name, before: (...values: unknown[]) => void): void {
  const original = target[name];
  target[name] = function (this: unknown, ...values: never[]) {
    before(...values);
    return original.apply(this, values);
  };
}

const nameOf = (value: unknown): string => (typeof value === 'string' ? path.basename(value).replace(/[0-9a-f-]{36,}/g, '…') : '');

async function watchFiles(step: Step): Promise<void> {
  const calls = promises as unknown as Record<'rename' | 'symlink' | 'rm' | 'mkdir' | 'writeFile', Method>;
  for (const name of ['rename', 'symlink', 'rm', 'mkdir', 'writeFile'] as const) onEach(calls, name, (...[first, second]) => step(`${name} ${nameOf(name === 'rename' || name === 'symlink' ? second : first)}`));
  const handle = await promises.open(path.join(tmpdir()), 'r');
  const methods = Object.getPrototypeOf(handle) as Record<'sync' | 'datasync' | 'writev' | 'writeFile', Method>;
  await (handle).close();
  for (const name of ['sync', 'datasync', 'writeFile'] as const) onEach(methods, name, () => step(`handle.${name}`));
  let writes = 0;
  onEach(methods, 'writev', () => {
    if (writes % writesPerStep === 0) step('handle.writev');
    writes += 1;
  });
  syncBuiltinESMExports();
}

async function watchDatabase(step: Step): Promise<void> {
  // The driver has no types of its own, and nothing else here speaks to it.
  const name: string = 'pg';
  const driver = (await import(name)) as { default: { Client: { prototype: Record<'query', Method> } } };
  const client = driver.default.Client.prototype;
  onEach(client, 'query', (given) => {
    const text = typeof given === 'string' ? given : (given as { text?: string }).text ?? '';
    // The queue's own polling and heartbeats go by the clock; what is ours quotes its names.
    if (/^\s*commit\s*;?\s*$/i.test(text)) step('commit');
    else if (/^\s*(?:update|insert into|delete from) "/i.test(text)) step(text.slice(0, 40));
  });
}

/** `killAt` 0 = never. Answers how many steps there were so far. */
export async function countSteps(killAt: number, onStep: Step = () => {}): Promise<() => number> {
  let steps = 0;
  const step: Step = (what) => {
    steps += 1;
    onStep(`${steps} ${what}`);
    if (steps === killAt) process.kill(process.pid, 'SIGKILL');
  };
  await watchFiles(step);
  await watchDatabase(step);
  return () => steps;
}
