import { readFile, readlink } from 'node:fs/promises';
import { hostname } from 'node:os';

/**
 * Equal for two processes that see each other's pids and share their loopback addresses: the run of the kernel and
 * the namespaces of this process. Where the system tells none of that, the host's name has to do.
 */
export async function identifyMachine(): Promise<string> {
  const parts = await Promise.all([
    readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => ''),
    readlink('/proc/self/ns/pid').catch(() => ''),
    readlink('/proc/self/ns/net').catch(() => ''),
  ]);
  return parts.every((part) => part !== '') ? parts.map((part) => part.trim()).join(' ') : hostname();
}
