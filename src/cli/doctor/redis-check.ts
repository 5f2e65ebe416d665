import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Config } from '../../infrastructure/config/config.ts';
import { fault, ok, reasonOf, type Check } from './check.ts';
import { withTimeout } from './network-checks.ts';

const answerBytesMax = 64 * 1024;
const oldest = { major: 6, minor: 2 };

/** A command in Redis's protocol. */
function command(...words: readonly string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`;
}

function open(url: URL): { socket: Socket; place: string } {
  if (url.protocol === 'unix:') return { socket: connectTcp({ path: url.pathname }), place: url.pathname };
  const address = { host: url.hostname.replace(/^\[|\]$/g, '') || '127.0.0.1', port: Number(url.port || 6379) };
  return { socket: url.protocol === 'rediss:' ? connectTls(address) : connectTcp(address), place: `${address.host}:${address.port}` };
}

/** Says who we are, and asks for the version; answers everything up to it, or up to the first refusal. */
async function greet(socket: Socket, url: URL, signal: AbortSignal): Promise<string> {
  const [user, password] = [decodeURIComponent(url.username), decodeURIComponent(url.password)];
  const stop = (): void => void socket.destroy(signal.reason as Error);
  signal.addEventListener('abort', stop, { once: true });
  try {
    socket.write(`${password === '' ? '' : command('AUTH', ...(user === '' ? [] : [user]), password)}${command('INFO', 'server')}`);
    let answer = '';
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      answer += chunk.toString('latin1');
      if (/^-|redis_version:[^\r]*\r/m.test(answer) || !/^[+$-]/.test(answer) || answer.length > answerBytesMax) break;
    }
    return answer;
  } finally {
    signal.removeEventListener('abort', stop);
    socket.destroy();
  }
}

function judge(answer: string, place: string): Check {
  const name = 'events';
  const refusal = /^-(\S+)/m.exec(answer)?.[1];
  if (refusal === 'NOAUTH') return fault(name, `Redis at ${place} asks for a password`, 'Put it into REDIS_URL: redis://:password@host:6379.');
  if (refusal === 'WRONGPASS' || refusal === 'ERR') return fault(name, `Redis at ${place} refuses the user or the password`, 'Correct them in REDIS_URL.');
  if (refusal !== undefined) return fault(name, `Redis at ${place} refuses to talk (${refusal})`, "Look into Redis's own log and settings.");
  const [, major, minor] = /redis_version:(\d+)\.(\d+)/.exec(answer) ?? [];
  if (major === undefined) return fault(name, `what answers at ${place} is not Redis`, 'Check REDIS_URL.');
  const isOld = Number(major) < oldest.major || (Number(major) === oldest.major && Number(minor) < oldest.minor);
  if (isOld) return fault(name, `Redis ${major}.${minor ?? ''} at ${place} is too old`, `Use Redis ${oldest.major}.${oldest.minor} or later, or Valkey.`);
  return ok(name, `Redis ${major}.${minor ?? ''} answers at ${place}`);
}

/** Whether the Redis that is set lets us in and is new enough. */
export async function checkRedis({ redis }: Config, signal: AbortSignal): Promise<Check> {
  if (redis.kind === 'none') return ok('events', 'in process (no REDIS_URL)');
  const url = new URL(redis.url.reveal());
  const { socket, place } = open(url);
  try {
    return judge(await greet(socket, url, withTimeout(signal)), place);
  } catch (error) {
    signal.throwIfAborted();
    return fault('events', `Redis is not reachable at ${place} (${reasonOf(error)})`, 'Start it, or check REDIS_URL.');
  }
}
