import { describe, expect, it } from '@jest/globals';
import { decodeIdCursor, encodeCursor, encodeIdCursor } from '../../../src/shared/paging.ts';

const id = '01900000-0000-7000-8000-000000000001';

describe('the cursor of a list by id', () => {
  it('goes back to the id that it was made of', () => {
    expect(decodeIdCursor('downloads', encodeIdCursor('downloads', id))).toBe(id);
  });

  it("is refused when it is another list's, or none of ours", () => {
    const foreign = [encodeIdCursor('deployments', id), encodeIdCursor('downloads', 'x'), encodeCursor([id]), encodeCursor(['downloads', 5]), '', 'x', '\0', 'a'.repeat(2000)];
    for (const cursor of foreign) expect(() => decodeIdCursor('downloads', cursor)).toThrow(expect.objectContaining({ code: 'VALIDATION_FAILED', details: { fields: [expect.objectContaining({ field: 'cursor' })] } }));
  });
});
