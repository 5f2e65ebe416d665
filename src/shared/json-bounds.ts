const depthMax = 512;
/** Lists and objects: each takes about a microsecond to make, a byte of text a thousandth of that. */
const containersMax = 500_000;
const membersMax = 1_500_000;

/** Most texts are shorter. */
const nearBytes = 64;
const quote = 0x22;
const backslash = 0x5c;
const colon = 0x3a;

/**
 * Why a text is not worth parsing, before it is: one made of brackets alone would hold up everybody else for as long as
 * it is being read. Null when it is; whether it is JSON is not looked at. Linear in the length.
 */
export function jsonBoundsFault(text: Buffer): string | null {
  let depth = 0;
  let containers = 0;
  let members = 0;
  for (let at = 0; at < text.length; at += 1) {
    const byte = text[at] ?? 0;
    if (byte === quote) at = endOfString(text, at);
    else if (byte === colon) members += 1;
    else if (isOpening(byte)) {
      containers += 1;
      depth += 1;
      if (depth > depthMax) return `must not be nested deeper than ${depthMax} levels`;
    } else if (isOpening(byte - 2)) depth -= 1;
  }
  if (containers > containersMax) return `must not hold more than ${containersMax} lists and objects`;
  return members > membersMax ? `must not hold more than ${membersMax} members of objects` : null;
}

/** `[` or `{`; what closes them stands two places behind. */
function isOpening(byte: number): boolean {
  return byte === 0x5b || byte === 0x7b;
}

/** The place of the quote that ends the string which begins at `start`; the text's end where none does. */
function endOfString(text: Buffer, start: number): number {
  let at = start + 1;
  while (at < text.length) {
    for (const near = at + nearBytes; at < near; at += 1) {
      if (text[at] === quote) return at;
      if (text[at] === backslash) at += 1;
    }
    // A picture's base64, mostly: looked through in one go.
    const next = text.indexOf(quote, at);
    if (next === -1) break;
    let escapes = 0;
    while (next - escapes > at && text[next - 1 - escapes] === backslash) escapes += 1;
    if (escapes % 2 === 0) return next;
    at = next + 1;
  }
  return text.length;
}
