import { beforeEach, describe, expect, it } from '@jest/globals';
import { createGate } from '../../src/shared/async.ts';
import { newId } from '../../src/shared/ids.ts';
import type { StreamEntry, TokenStream } from '../../src/shared/token-stream.ts';

export async function readAll(entries: AsyncIterable<StreamEntry>): Promise<string[]> {
  const seen: string[] = [];
  for await (const entry of entries) seen.push(entry.type === 'piece' ? `${entry.index}:${entry.text}` : `end ${entry.index} ${JSON.stringify(entry.outcome)}`);
  return seen;
}

/** What every TokenStream promises; `create` makes a fresh one per test. */
export function describeTokenStream(name: string, create: () => Promise<TokenStream>): void {
  describe(`the token stream ${name}`, () => {
    let stream: TokenStream;
    let message: string;
    beforeEach(async () => {
      stream = await create();
      message = newId();
    });

    it('counts pieces from 0 and gives them in order up to the end', async () => {
      expect([stream.append(message, 'Hel'), stream.append(message, 'lo')]).toEqual([0, 1]);
      await stream.end(message, { status: 'completed' });
      expect(await readAll(stream.read(message, -1))).toEqual(['0:Hel', '1:lo', 'end 1 {"status":"completed"}']);
    });

    it('gives every character as it came', async () => {
      const texts = ['"\\', "'\n\r\t", '\u0001\u007f\u2028\ufeff', 'é🙂👨‍👩‍👧', '[1,"t"]', ' ', 'false', '\\ud83d'];
      for (const text of texts) stream.append(message, text);
      await stream.end(message, { error: { message: 'é"\\\n🙂' } });
      expect(await readAll(stream.read(message, -1))).toEqual([...texts.map((text, index) => `${index}:${text}`), `end ${texts.length - 1} {"error":{"message":"é\\"\\\\\\n🙂"}}`]);
    });

    it('gives a reader that comes back exactly what follows its last position', async () => {
      for (const text of ['a', 'b', 'c']) stream.append(message, text);
      await stream.end(message, {});
      expect(await readAll(stream.read(message, 1))).toEqual(['2:c', 'end 2 {}']);
      expect(await readAll(stream.read(message, 2))).toEqual(['end 2 {}']);
    });

    it('goes on live after the stored pieces, none lost and none doubled', async () => {
      stream.append(message, 'stored');
      const readers = [-1, -1, 0].map((after) => readAll(stream.read(message, after)));
      const written = Array.from({ length: 200 }, (_, count) => `piece ${count}`);
      for (const text of written) stream.append(message, text);
      await stream.end(message, {});
      const live = written.map((text, index) => `${index + 1}:${text}`);
      const [one, two, late] = await Promise.all(readers);
      expect(one).toEqual(['0:stored', ...live, 'end 200 {}']);
      expect(two).toEqual(one);
      expect(late).toEqual([...live, 'end 200 {}']);
    });

    it('lets a reader wait for a message that has no piece yet', async () => {
      const reading = readAll(stream.read(message, -1));
      stream.append(message, 'first');
      await stream.end(message, {});
      expect(await reading).toEqual(['0:first', 'end 0 {}']);
    });

    it('gives an answer without pieces an end at -1', async () => {
      await stream.end(message, { status: 'failed' });
      expect(await readAll(stream.read(message, -1))).toEqual(['end -1 {"status":"failed"}']);
    });

    it('ends a waiting reader quietly when its signal aborts', async () => {
      stream.append(message, 'a');
      const controller = new AbortController();
      const seen: StreamEntry[] = [];
      const first = createGate();
      const reading = stream.read(message, -1).each((entry) => {
        seen.push(entry);
        first.open();
        return undefined;
      }, controller.signal);
      await first.opened;
      controller.abort(new Error('gone'));
      await reading;
      stream.append(message, 'b');
      expect(seen).toEqual([{ type: 'piece', index: 0, text: 'a' }]);
    });

    it('ends a waiting reader when its iterator returns', async () => {
      stream.append(message, 'a');
      const entries = stream.read(message, 0)[Symbol.asyncIterator]();
      const pending = entries.next();
      await entries.return?.();
      expect(await pending).toEqual({ done: true, value: undefined });
    });

    it('gives a reader no more than it has room for, and goes on from there when it has', async () => {
      for (const text of ['a', 'b']) stream.append(message, text);
      await stream.end(message, {});
      const [first, room] = [createGate(), createGate()];
      const seen: number[] = [];
      const reading = stream.read(message, -1).each((entry) => {
        seen.push(entry.index);
        first.open();
        return entry.index === 0 ? room.opened : undefined;
      }, new AbortController().signal);
      await first.opened;
      expect(seen).toEqual([0]);
      room.open();
      await reading;
      expect(seen).toEqual([0, 1, 1]);
    });

    it("tells a reader's own fault to nobody but that reader", async () => {
      const others = readAll(stream.read(message, -1));
      const broken = stream.read(message, -1).each(() => {
        throw new Error('the socket has gone');
      }, new AbortController().signal);
      expect(stream.append(message, 'a')).toBe(0);
      await expect(broken).rejects.toThrow('the socket has gone');
      expect(stream.append(message, 'b')).toBe(1);
      await stream.end(message, {});
      expect(await others).toEqual(['0:a', '1:b', 'end 1 {}']);
    });

    it('can be read from the start while it lives and for a while after its end', async () => {
      expect(await stream.has(message)).toBe(false);
      stream.append(message, 'a');
      expect(await stream.has(message)).toBe(true);
      await stream.end(message, {});
      expect(await stream.has(message)).toBe(true);
    });

    it('keeps messages apart', async () => {
      const other = newId();
      stream.append(message, 'mine');
      stream.append(other, 'theirs');
      await stream.end(message, {});
      expect(await readAll(stream.read(message, -1))).toEqual(['0:mine', 'end 0 {}']);
    });

    it('gives those who wait for an abandoned stream its end after the last piece, and leaves an ended one as it is', async () => {
      for (const text of ['a', 'b']) stream.append(message, text);
      expect(await stream.pieces(message)).toEqual(['a', 'b']);
      const reading = readAll(stream.read(message, -1));
      await stream.abandon(message, { status: 'interrupted' });
      expect(await reading).toEqual(['0:a', '1:b', 'end 1 {"status":"interrupted"}']);
      await stream.abandon(message, { status: 'later' });
      expect(await readAll(stream.read(message, -1))).toEqual(['0:a', '1:b', 'end 1 {"status":"interrupted"}']);
    });

    it('makes no stream of what is abandoned without one', async () => {
      await stream.abandon(message, { status: 'interrupted' });
      expect([await stream.has(message), await stream.pieces(message)]).toEqual([false, null]);
    });

    it('refuses pieces after the end', async () => {
      await stream.end(message, {});
      await expect((async () => stream.append(message, 'late'))()).rejects.toThrow('has ended');
    });
  });
}
