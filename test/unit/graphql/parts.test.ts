import { describe, expect, it } from '@jest/globals';
import { decodeGlobalId, toUuid } from '../../../src/adapters/graphql/ids.ts';
import { parseByteSize, parseDateTime, parseDigest, parseJson, parseModelId, serializeDateTime, serializeDigest } from '../../../src/adapters/graphql/scalars.ts';
import { toTree } from '../../../src/adapters/graphql/schema/chat/tree.ts';
import { openStream } from '../../../src/adapters/graphql/stream.ts';
import { AppError } from '../../../src/shared/errors.ts';
import { messageRow } from '../../support/domain-doubles/rows.ts';

const uuid = '01900000-0000-7000-8000-000000000001';

describe('scalars', () => {
  it('takes byte sizes beyond 32 bits and refuses what is no whole number of bytes', () => {
    expect(parseByteSize(5_000_000_000)).toBe(5_000_000_000);
    expect(parseByteSize('9007199254740991')).toBe(Number.MAX_SAFE_INTEGER);
    for (const value of [-1, 1.5, '9007199254740992', 'x', null, Number.NaN]) expect(() => parseByteSize(value)).toThrow(/whole number of bytes/);
  });

  it('takes ISO 8601 times alone and writes them in UTC', () => {
    expect(parseDateTime('2026-01-31T12:00:00+02:00').toISOString()).toBe('2026-01-31T10:00:00.000Z');
    for (const value of ['2026-13-01T00:00:00Z', '1 May 2026', '2026-01-01', 5]) expect(() => parseDateTime(value)).toThrow(/must be/);
    expect(serializeDateTime('2026-01-01T00:00:00Z')).toBe('2026-01-01T00:00:00.000Z');
  });

  it('writes digests in the whole form and takes no other', () => {
    expect(serializeDigest('a'.repeat(64))).toBe(`sha256:${'a'.repeat(64)}`);
    expect(() => parseDigest('a'.repeat(64))).toThrow(/sha256/);
  });

  it('refuses model ids that would leave their folder', () => {
    for (const value of ['../../etc/passwd', 'huggingface:a/../b', 'a\0b/c', '', 5]) expect(() => parseModelId(value)).toThrow(/huggingface/);
    expect(parseModelId('huggingface:a/b@main')).toBe('huggingface:a/b@main');
  });

  it('refuses JSON that would reach a prototype or is nested without end', () => {
    expect(() => parseJson(JSON.parse('{"a":{"__proto__":{"x":1}}}'))).toThrow(/__proto__/);
    let deep: unknown = 1;
    for (let level = 0; level < 100; level += 1) deep = [deep];
    expect(() => parseJson(deep)).toThrow(/nested deeper/);
  });

  it('refuses JSON with text that the database cannot hold, in names as in values', () => {
    for (const value of ['a\0', '\ud800', ['x', '\udc00'], { 'a\0': 1 }, { a: { b: '\ud800' } }]) expect(() => parseJson(value)).toThrow(/NUL or broken/);
    expect(parseJson({ a: ['\u{1f600}', '\n'] })).toEqual({ a: ['\u{1f600}', '\n'] });
  });
});

describe('toUuid', () => {
  it('takes a plain UUID and a global id of the kind', () => {
    const globalId = Buffer.from(`Deployment:${uuid}`).toString('base64');
    expect(toUuid('Deployment', uuid.toUpperCase())).toBe(uuid);
    expect(toUuid('Deployment', globalId)).toBe(uuid);
    expect(decodeGlobalId(globalId)).toEqual({ typename: 'Deployment', id: uuid });
  });

  it('treats a global id of another kind, and anything else, as unknown', () => {
    const other = Buffer.from(`DownloadTask:${uuid}`).toString('base64');
    for (const text of [other, 'x', '', "1' or '1'='1", 'a'.repeat(10_000)]) expect(() => toUuid('Deployment', text)).toThrow(expect.objectContaining({ code: 'DEPLOYMENT_NOT_FOUND' }));
  });
});

describe('toTree', () => {
  it('sets branches beside each other and messages without a known parent at the root', () => {
    const [first, second, third] = [messageRow(0), messageRow(1), messageRow(2)];
    const branch = { ...messageRow(3), parentId: first.id };
    const lost = { ...messageRow(4), parentId: uuid };
    const tree = toTree([first, second, third, branch, lost], true);
    expect(tree.rootIds).toEqual([first.id, lost.id]);
    expect(tree.nodes.map((node) => [node.depth, node.childIds.length])).toEqual([[0, 2], [1, 1], [2, 0], [1, 0], [0, 0]]);
  });
});

describe('openStream', () => {
  it('ends a stream that waits for its next event when its reader leaves', async () => {
    let wasAborted = false;
    const stream = await openStream(
      async function* (signal) {
        yield 1;
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
        wasAborted = true;
      },
      { signal: new AbortController().signal, startsAtOnce: true },
    );
    expect(await stream.next()).toEqual({ done: false, value: 1 });
    const waiting = stream.next();
    await stream.return?.();
    expect((await waiting).done).toBe(true);
    expect(wasAborted).toBe(true);
  });

  it('fails at once when the first event fails', async () => {
    const open = async function* (): AsyncIterable<number> {
      yield* [];
      throw new AppError('CHAT_MESSAGE_NOT_FOUND', 'None.');
    };
    await expect(openStream(open, { signal: new AbortController().signal, startsAtOnce: true })).rejects.toThrow('None.');
  });
});
