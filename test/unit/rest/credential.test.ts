import { describe, expect, it } from '@jest/globals';
import { credentialOf, hasCredentialInUrl } from '../../../src/adapters/http/credential.ts';
import { isJsonContentType, parseJsonObject } from '../../../src/adapters/http/body.ts';

describe('a credential', () => {
  it.each([
    [{ authorization: 'Bearer llmm_x' }, 'llmm_x'],
    [{ authorization: 'bearer   llmm_x ' }, 'llmm_x'],
    [{ 'x-api-key': 'llmm_x' }, 'llmm_x'],
    [{ authorization: 'Bearer a', 'x-api-key': 'b' }, 'a'],
  ])('is read from %j', (headers, key) => {
    expect(credentialOf(headers)).toBe(key);
  });

  it.each([[{}], [{ authorization: '' }], [{ authorization: 'Basic abc' }], [{ authorization: 'Bearer' }], [{ authorization: 'Bearer a b' }], [{ authorization: 'llmm_x' }], [{ 'x-api-key': '' }], [{ authorization: 'Basic abc', 'x-api-key': 'b' }]])(
    'is not in %j',
    (headers) => {
      expect(credentialOf(headers)).toBeNull();
    },
  );

  it.each(['?key=x', '?api_key=x', '?API-KEY=x', '?access_token=x', '?Token=', '?a=1&authorization=x'])('in a URL is noticed: %s', (search) => {
    expect(hasCredentialInUrl(new URL(`http://x/api${search}`))).toBe(true);
  });

  it('is not seen in ordinary parameters', () => {
    expect(hasCredentialInUrl(new URL('http://x/api?q=key&cursor=token&keyboard=1'))).toBe(false);
  });
});

describe('the type of a body', () => {
  it.each(['application/json', 'Application/JSON; charset=utf-8', 'application/json;charset="UTF-8"', 'application/json; x=1'])('%s is read', (type) => {
    expect(isJsonContentType(type)).toBe(true);
  });

  it.each([undefined, '', 'text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/json; charset=utf-7', 'application/jsonp', 'text/plain; application/json'])('%j is not', (type) => {
    expect(isJsonContentType(type)).toBe(false);
  });
});

describe('a JSON body', () => {
  it.each(['', '{', '[]', 'null', '5', '"x"', '{"a":1}x', "{'a':1}"])('%j is no object', (text) => {
    expect(() => parseJsonObject(Buffer.from(text))).toThrow(expect.objectContaining({ code: 'VALIDATION_FAILED' }));
  });

  it('is not guessed when it is not UTF-8', () => {
    expect(() => parseJsonObject(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]))).toThrow(expect.objectContaining({ code: 'VALIDATION_FAILED' }));
  });

  it('may be nested as deep as anybody needs, and is refused beyond that without running out of stack', () => {
    const nested = (levels: number): Buffer => Buffer.from(`{"a":${'['.repeat(levels)}${']'.repeat(levels)}}`);
    expect(Object.keys(parseJsonObject(nested(500)))).toEqual(['a']);
    expect(() => parseJsonObject(nested(200_000))).toThrow(expect.objectContaining({ code: 'VALIDATION_FAILED' }));
  });
});
