import { accessSync, chmodSync, constants, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/**
 * The llama-servers that tests can run: our double, made executable in `folder`, and the real one where
 * LLM_MANAGER_TEST_LLAMA_SERVER or PATH has it.
 */
export function llamaServers(folder: string): { name: string; path: string }[] {
  const double = join(folder, 'llama-server-double');
  const program = join(process.cwd(), 'test', 'support', 'programs', 'llama-server-double.ts');
  writeFileSync(double, `#!/bin/sh\nexec '${process.execPath}' --disable-warning=ExperimentalWarning '${program}' "$@"\n`);
  chmodSync(double, 0o755);
  const real = realLlamaServer();
  return [{ name: 'a double of llama-server', path: double }, ...(real === null ? [] : [{ name: 'the real llama-server', path: real }])];
}

export function realLlamaServer(): string | null {
  const given = process.env['LLM_MANAGER_TEST_LLAMA_SERVER'];
  const candidates = given === undefined ? (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, 'llama-server')) : [given];
  return candidates.find((path) => isProgram(path)) ?? null;
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
