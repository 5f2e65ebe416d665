/** The service cannot listen where it was told to; the message says why and what to do. */
export class AddressUnusableError extends Error {
  override readonly name = 'AddressUnusableError';

  /** Another program listens there. */
  get isTaken(): boolean {
    return (this.cause as NodeJS.ErrnoException | undefined)?.code === 'EADDRINUSE';
  }
}

const reasons: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program listens there already. Choose another port with --port or LLM_MANAGER_PORT; 0 takes any free one',
  EADDRNOTAVAIL: 'this machine does not have that address. Choose another one with --host or LLM_MANAGER_HOST',
  ENOTFOUND: 'there is no host of that name. Choose another one with --host or LLM_MANAGER_HOST',
  EAI_AGAIN: 'that name cannot be resolved now',
  EACCES: 'ports below 1024 need more rights. Choose another one with --port or LLM_MANAGER_PORT',
};

/** In place of what the system said about listening on `host` and `port`. */
export function describeListenFault(error: unknown, { host, port }: { host: string; port: number }): unknown {
  const { code = '' } = error as NodeJS.ErrnoException;
  const reason = reasons[code];
  return reason === undefined ? error : new AddressUnusableError(`Cannot listen on ${inUrl(host)}:${port}: ${reason} (${code}).`, { cause: error });
}

/** Where a program on this machine reaches a service that listens on `host`. */
export function reachableUrl({ host, port }: { host: string; port: number }): string {
  // "All of this machine's addresses" is no address to connect to everywhere.
  const reached = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${inUrl(reached)}:${port}`;
}

function inUrl(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
