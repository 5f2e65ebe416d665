import { describe, expect, it } from '@jest/globals';
import { expiryOf, isPrivateHost, isSigned, normalizeEndpoint, redirectTarget, retryAfterOf } from '../../../src/domains/catalog/sources/source-requests.ts';
import { nextCursorOf } from '../../../src/domains/catalog/sources/huggingface/hub-client.ts';

describe('what servers say between the lines', () => {
  it.each([
    [{ ratelimit: '"api";r=0;t=55' }, 56],
    [{ ratelimit: '"api";r=0;t=55', 'retry-after': '3' }, 56],
    [{ 'retry-after': '3' }, 3],
    [{ 'retry-after': 'Thu, 01 Jan 2026 00:01:00 GMT' }, 60],
    [{ 'retry-after': 'Thu, 01 Jan 2020 00:00:00 GMT' }, 1],
    [{ 'retry-after': '99999999' }, 3600],
    [{ 'retry-after': 'soon' }, undefined],
    [{}, undefined],
  ])('reads how long to wait from %j', (headers, seconds) => {
    expect(retryAfterOf(headers as Record<string, string>, Date.UTC(2026, 0, 1))).toBe(seconds);
  });

  it.each([
    ['https://cdn/x?Expires=1770000000&Signature=a&Key-Pair-Id=b', 1_770_000_000_000, true],
    ['https://cdn/x?X-Amz-Date=20260201T000000Z&X-Amz-Expires=3600&X-Amz-Signature=a', Date.UTC(2026, 1, 1, 1), true],
    ['https://cdn/x?X-Amz-Date=20269901T000000Z&X-Amz-Expires=3600', null, false],
    ['https://cdn/x?Expires=tomorrow', null, false],
    ['https://cdn/x', null, false],
  ])('reads when %s ends', (url, expiry, signed) => {
    expect(expiryOf(new URL(url))).toBe(expiry);
    expect(isSigned(new URL(url))).toBe(signed);
  });

  it.each(['localhost', '127.0.0.1', '10.1.2.3', '192.168.0.1', '172.20.0.1', '169.254.169.254', '[::1]', '[fd00::1]', 'hub.local', 'hub', '100.64.0.1'])('takes %s for a private host', (host) => {
    expect(isPrivateHost(host)).toBe(true);
  });

  it.each(['huggingface.co', '8.8.8.8', '172.32.0.1', '[2606:4700::1]', 'localhost.example.com'])('takes %s for a public host', (host) => {
    expect(isPrivateHost(host)).toBe(false);
  });

  it('never goes from https to http', () => {
    const response = { status: 302, headers: { location: 'http://example.com/x' }, body: new Uint8Array() };
    expect(() => redirectTarget(response, 'https://example.com/', 'The Hub')).toThrow('The Hub sent a redirect from https to http.');
    expect(redirectTarget(response, 'http://example.com/', 'The Hub')?.href).toBe('http://example.com/x');
  });

  it('takes a relative redirect as one on the same host', () => {
    const response = { status: 307, headers: { location: '/api/resolve-cache/x?etag=1' }, body: new Uint8Array() };
    expect(redirectTarget(response, 'https://example.com/a/b', 'The Hub')?.href).toBe('https://example.com/api/resolve-cache/x?etag=1');
    expect(redirectTarget({ ...response, status: 200 }, 'https://example.com/', 'The Hub')).toBeNull();
  });

  it('keeps an endpoint free of credentials and trailing slashes', () => {
    expect(normalizeEndpoint('https://user:secret@mirror.example/hub//')).toBe('https://mirror.example/hub');
    expect(() => normalizeEndpoint('file:///x')).toThrow(TypeError);
  });

  it.each([
    ['<https://huggingface.co/api/models?limit=2&cursor=abc%3D>; rel="next"', 'abc='],
    ['<https://a/x>; rel="prev", <https://a/y?cursor=n>; rel="next"', 'n'],
    ['<https://a/x?cursor=p>; rel="prev"', null],
    [undefined, null],
  ])('reads the cursor of the next page from %s', (link, cursor) => {
    expect(nextCursorOf(link)).toBe(cursor);
  });

  it.each(['<https://a/x>; rel="next"', `<https://a/x?cursor=${'a'.repeat(2000)}>; rel="next"`])('refuses a next page that it cannot ask for', (link) => {
    expect(() => nextCursorOf(link)).toThrow(expect.objectContaining({ code: 'SOURCE_UNAVAILABLE' }));
  });
});
