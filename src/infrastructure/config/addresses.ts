import { isIP } from 'node:net';
import { z } from 'zod';

const portMax = 65_535;

/**
 * Reads OLLAMA_HOST the way Ollama's own programs do (`envconfig.Host`): scheme, port and even the host may be
 * missing, `http://` alone means port 80, and a port that is none counts as missing. An address that means "all of
 * this machine's" to a server means this machine to a client.
 */
export function parseOllamaHost(value: string): string {
  const given = value.trim().replace(/^["']+|["']+$/g, '').trim();
  const [, schemeText, rest = given] = /^([a-z]+):\/\/(.*)$/s.exec(given) ?? [];
  const isOllamaCom = given === 'ollama.com';
  const scheme = schemeText ?? (isOllamaCom ? 'https' : 'http');
  const defaultPort = schemeText === 'http' ? 80 : scheme === 'https' ? 443 : 11_434;
  const slash = rest.indexOf('/');
  const hostPort = slash === -1 ? rest : rest.slice(0, slash);
  const path = slash === -1 ? '' : rest.slice(slash).replace(/\/+$/, '');
  const { host, port } = splitHostPort(hostPort);
  const number = /^\d{1,5}$/.test(port) && Number(port) <= portMax ? Number(port) : defaultPort;
  return `${scheme}://${toClientHost(host)}:${number}${path}`;
}

function splitHostPort(hostPort: string): { host: string; port: string } {
  const bracketed = /^\[(.*)\](?::(.*))?$/.exec(hostPort);
  if (bracketed) return { host: bracketed[1] ?? '', port: bracketed[2] ?? '' };
  // More than one colon without brackets can only be a bare IPv6 address.
  if (isIP(hostPort) === 6) return { host: hostPort, port: '' };
  const colon = hostPort.lastIndexOf(':');
  return colon === -1 ? { host: hostPort, port: '' } : { host: hostPort.slice(0, colon), port: hostPort.slice(colon + 1) };
}

function toClientHost(host: string): string {
  if (host === '' || host === '0.0.0.0') return '127.0.0.1';
  if (host === '::') return '[::1]';
  return isIP(host) === 6 ? `[${host}]` : host;
}

export function ollamaHost(): z.ZodType<string> {
  return z.string({ error: 'must be text' }).transform((value, context) => {
    const url = parseOllamaHost(value);
    if (/^https?:/.test(url) && URL.canParse(url)) return url;
    context.addIssue({ code: 'custom', message: 'must be a host, host:port or URL' });
    return z.NEVER;
  });
}

/** Where a local daemon listens: a socket of the file system or a TCP address. */
export type Endpoint = { kind: 'socket'; path: string } | { kind: 'tcp'; host: string; port: number };

/** `host:port` or a socket's path. */
export function hostPortOrSocket(): z.ZodType<Endpoint> {
  return z.string({ error: 'must be host:port or the path of a socket' }).transform((value, context): Endpoint => {
    const path = value.startsWith('unix:') ? value.slice('unix:'.length).replace(/^\/\/(?=\/)/, '') : value;
    if (path.startsWith('/')) return { kind: 'socket', path };
    const { host, port } = splitHostPort(value);
    if (host !== '' && /^\d{1,5}$/.test(port) && Number(port) > 0 && Number(port) <= portMax) return { kind: 'tcp', host, port: Number(port) };
    context.addIssue({ code: 'custom', message: 'must be host:port or the path of a socket' });
    return z.NEVER;
  });
}

const dockerPortDefault = 2_375;

/** DOCKER_HOST's forms: `unix:///path`, `tcp://host:port`, or a socket's path alone. */
export function dockerHost(): z.ZodType<Endpoint> {
  const message = 'must be unix:///path or tcp://host:port';
  return z.string({ error: message }).transform((value, context): Endpoint => {
    if (value.startsWith('/')) return { kind: 'socket', path: value };
    if (value.startsWith('unix:///')) return { kind: 'socket', path: value.slice('unix://'.length) };
    const url = /^(tcp|http):\/\//.test(value) ? URL.parse(value.replace(/^tcp/, 'http')) : null;
    if (url && url.hostname !== '') return { kind: 'tcp', host: url.hostname, port: Number(url.port) || dockerPortDefault };
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  });
}
