import type { IncomingMessage } from 'node:http';
import { AppError } from '../../shared/errors.ts';

export type GuardOptions = {
  /** The address that the service was told to listen on. */
  host: string;
  /** Further names under which it is reached, as URLs. */
  publicUrls: readonly string[];
  /** Foreign pages that may call it. */
  allowedOrigins: readonly string[];
};

export type Guard = {
  /** Throws ORIGIN_NOT_ALLOWED for a Host that is not ours: a foreign name that points here (DNS rebinding). */
  checkHost(req: IncomingMessage): void;
  /**
   * Throws ORIGIN_NOT_ALLOWED for a page of another origin. Answers the origin when it is a foreign one that may
   * read the response, null when there is none or it is our own.
   */
  checkOrigin(req: IncomingMessage): string | null;
};

const loopbackNames = new Set(['localhost', '127.0.0.1', '[::1]']);

function hostNameOf(host: string): string | null {
  // The URL parser normalises case, IPv6 and odd number forms of IPv4 alike.
  const url = URL.parse(`http://${host}`);
  const isPlain = url !== null && url.pathname === '/' && url.search === '' && url.hash === '' && url.username === '' && url.password === '';
  return isPlain ? url.hostname : null;
}

function addressAsHost(address: string | undefined): string {
  const plain = (address ?? '').replace(/^::ffff:(?=\d+\.)/, '');
  return plain.includes(':') ? `[${plain}]` : plain;
}

export function createGuard(options: GuardOptions): Guard {
  const origins = new Set(options.allowedOrigins.map((origin) => new URL(origin).origin));
  const names = new Set(loopbackNames);
  names.add(addressAsHost(options.host));
  for (const url of options.publicUrls.map((text) => new URL(text))) {
    names.add(url.hostname);
    origins.add(url.origin);
  }

  return {
    checkHost(req) {
      const name = hostNameOf(req.headers.host ?? '');
      // The address that the connection itself came in on cannot be a rebound name.
      if (name !== null && (names.has(name) || name === addressAsHost(req.socket.localAddress))) return;
      throw new AppError('ORIGIN_NOT_ALLOWED', 'This Host is not one of the service; set LLM_MANAGER_PUBLIC_URL to accept it.');
    },
    checkOrigin(req) {
      const origin = req.headers.origin;
      if (origin === undefined) return null;
      const url = URL.parse(origin);
      const isHttp = url?.protocol === 'http:' || url?.protocol === 'https:';
      if (url && isHttp && origins.has(url.origin)) return url.origin;
      const ownHost = URL.parse(`http://${req.headers.host ?? ''}`)?.host;
      if (url && isHttp && url.host === ownHost) return null;
      throw new AppError('ORIGIN_NOT_ALLOWED', 'Pages of this origin may not call the service; LLM_MANAGER_ALLOWED_ORIGINS names those that may.');
    },
  };
}
