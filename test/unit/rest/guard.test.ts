import type { IncomingMessage } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import { createGuard } from '../../../src/adapters/http/guard.ts';

const guard = createGuard({ host: '192.0.2.7', publicUrls: ['https://models.example:8443/base'], allowedOrigins: ['https://console.example'] });

function request(headers: { host?: string; origin?: string }, localAddress = '127.0.0.1'): IncomingMessage {
  return { headers, socket: { localAddress } } as unknown as IncomingMessage;
}

function isRefused(work: () => unknown): boolean {
  try {
    work();
    return false;
  } catch (error) {
    expect(error).toMatchObject({ code: 'ORIGIN_NOT_ALLOWED' });
    return true;
  }
}

describe('a Host', () => {
  it.each([
    ['127.0.0.1:4747'],
    ['localhost'],
    ['LOCALHOST:1'],
    ['[::1]:4747'],
    ['192.0.2.7:80'],
    ['models.example'],
    ['models.example:4747'],
    ['127.1'],
  ])('%s is ours', (host) => {
    expect(isRefused(() => guard.checkHost(request({ host })))).toBe(false);
  });

  it.each([
    ['evil.example'],
    ['evil.example:4747'],
    ['127.0.0.1.evil.example'],
    ['localhost.evil.example'],
    ['127.0.0.1@evil.example'],
    ['evil.example/127.0.0.1'],
    ['127.0.0.1:80#evil'],
    ['127.0.0.1 evil.example'],
    ['192.0.2.8'],
    ['sub.models.example'],
    [''],
    ['['],
  ])('%j is not', (host) => {
    expect(isRefused(() => guard.checkHost(request({ host })))).toBe(true);
  });

  it('has to be there', () => {
    expect(isRefused(() => guard.checkHost(request({})))).toBe(true);
  });

  it('may be the address that the connection came in on, whatever form the socket gives it', () => {
    expect(isRefused(() => guard.checkHost(request({ host: '198.51.100.3:4747' }, '::ffff:198.51.100.3')))).toBe(false);
    expect(isRefused(() => guard.checkHost(request({ host: '[2001:db8::1]:4747' }, '2001:db8::1')))).toBe(false);
    expect(isRefused(() => guard.checkHost(request({ host: '198.51.100.4' }, '198.51.100.3')))).toBe(true);
  });
});

describe('an Origin', () => {
  it.each([
    ['http://127.0.0.1:4747', null],
    ['https://console.example', 'https://console.example'],
    ['https://models.example:8443', 'https://models.example:8443'],
  ])('%s may call', (origin, echoed) => {
    expect(guard.checkOrigin(request({ host: '127.0.0.1:4747', origin }))).toBe(echoed);
  });

  it.each([
    ['http://evil.example'],
    ['null'],
    [''],
    ['http://console.example'],
    ['https://console.example.evil.example'],
    ['https://console.example:444'],
    ['http://127.0.0.1:8080'],
    ['file://'],
    ['chrome-extension://abcdef'],
    ['https://user@evil.example'],
  ])('%j may not', (origin) => {
    expect(isRefused(() => guard.checkOrigin(request({ host: '127.0.0.1:4747', origin })))).toBe(true);
  });

  it('is not needed: programs send none', () => {
    expect(guard.checkOrigin(request({ host: '127.0.0.1:4747' }))).toBeNull();
  });
});
