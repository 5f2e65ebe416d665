/** As much of a line as the log keeps, and a little for its time and level. */
const lineBytesMax = 8_192 + 256;
const newline = 0x0a;

/** Lines of what a container writes, each cut at what is kept: one that never ends takes no more memory than that. */
export async function* readLines(output: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of output) {
    let from = 0;
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, from)) {
      yield toText(grown(rest, chunk.subarray(from, end)));
      rest = Buffer.alloc(0);
      from = end + 1;
    }
    rest = grown(rest, chunk.subarray(from));
  }
  if (rest.length > 0) yield toText(rest);
}

function grown(line: Buffer, more: Uint8Array): Buffer {
  const room = lineBytesMax - line.length;
  return room <= 0 || more.length === 0 ? line : Buffer.concat([line, more.subarray(0, room)]);
}

const toText = (line: Buffer): string => line.toString('utf8').replace(/\r$/, '');
