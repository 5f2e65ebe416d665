import { AppError } from '../../src/shared/errors.ts';
import type { OutgoingHttp } from '../../src/shared/outgoing-http.ts';

/** Outgoing requests without the guards of the real client, for tests that only talk to the loopback interface. */
export const plainHttp: OutgoingHttp = async ({ method, url, headers = {}, body }, signal) => {
  try {
    const response = await fetch(url, { method, headers, redirect: 'manual', signal, ...(body === undefined ? {} : { body: body as string }) });
    return { status: response.status, headers: Object.fromEntries(response.headers), body: new Uint8Array(await response.arrayBuffer()) };
  } catch (cause) {
    signal.throwIfAborted();
    throw new AppError('NETWORK_FAILED', 'No answer came.', { cause });
  }
};
