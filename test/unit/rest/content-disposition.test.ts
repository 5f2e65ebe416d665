import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { contentDisposition } from '../../../src/adapters/rest/content-disposition.ts';

describe('the name of a file in a header', () => {
  it('is there for old and for new clients', () => {
    expect(contentDisposition('chat-hello.md')).toBe(`attachment; filename="chat-hello.md"; filename*=UTF-8''chat-hello.md`);
    expect(contentDisposition('Über (1).md')).toBe(`attachment; filename="_ber (1).md"; filename*=UTF-8''%C3%9Cber%20%281%29.md`);
  });

  it('cannot break out of the header or name a folder', () => {
    expect(contentDisposition('a"; filename="b\r\nx: y/../c\\d')).toBe(`attachment; filename="a_; filename=_b__x: y_.._c_d"; filename*=UTF-8''a%22%3B%20filename%3D%22b__x%3A%20y_.._c_d`);
  });

  it('is a header that any client can read, whatever the title was', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (name) => {
        expect(contentDisposition(name)).toMatch(/^attachment; filename="[\x20\x21\x23\x24\x26-\x7e]+"; filename\*=UTF-8''(?:[A-Za-z0-9!#$&+.^_`|~-]|%[0-9A-F]{2})+$/);
      }),
    );
  });
});
