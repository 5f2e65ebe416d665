import { readFile } from 'node:fs/promises';

const listening = '0A';
const columns = { localAddress: 1, state: 3, uid: 7 } as const;

/**
 * False when another account of this machine listens on the loopback port, or nobody: whoever was quicker than the
 * program that was to open it. True for our own account, and where that cannot be told.
 */
export async function isOurPort(port: number): Promise<boolean> {
  const ours = process.getuid?.();
  if (process.platform !== 'linux' || ours === undefined) return true;
  const tables = await Promise.all(['/proc/self/net/tcp', '/proc/self/net/tcp6'].map((path) => readFile(path, 'utf8').catch(() => null)));
  if (tables[0] === null) return true;
  const owners = tables.flatMap((table) => ownersOf(table ?? '', port));
  return owners.length > 0 && owners.every((uid) => uid === ours);
}

/** Of a table as proc(5) describes it: accounts that listen on the port. */
export function ownersOf(table: string, port: number): number[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return table.split('\n').slice(1).flatMap((line) => {
    const fields = line.trim().split(/\s+/);
    const isListener = fields[columns.state] === listening && fields[columns.localAddress]?.endsWith(suffix) === true;
    return isListener ? [Number(fields[columns.uid])] : [];
  });
}
