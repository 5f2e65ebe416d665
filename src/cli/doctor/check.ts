/** `warning`: it works, but something is missing or will be. */
export type CheckStatus = 'ok' | 'warning' | 'fault';

export type Check = {
  name: string;
  status: CheckStatus;
  message: string;
  /** What to do about it; null when nothing needs to be done. */
  cure: string | null;
};

export function ok(name: string, message: string): Check {
  return { name, status: 'ok', message, cure: null };
}

export function warning(name: string, message: string, cure: string): Check {
  return { name, status: 'warning', message, cure };
}

export function fault(name: string, message: string, cure: string): Check {
  return { name, status: 'fault', message, cure };
}

/** The short reason of a failed system call or request. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  const inner = cause instanceof Error ? cause : error;
  const { code } = inner as NodeJS.ErrnoException;
  if (inner.name === 'TimeoutError') return 'no answer in time';
  return code ?? inner.message;
}
