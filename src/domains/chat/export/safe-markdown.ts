/** Terminal controls and characters that turn text around; line breaks and tabs stay. */
export const controlCharacters = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/** Our own headings take the first two levels. */
const headingsAbove = 2;

/** A fence of backticks has none behind it in its line: that is a code span. */
const openingFence = /^ {0,3}(`{3,}(?=[^`]*$)|~{3,})/;
const closingFence = /^ {0,3}(`{3,}|~{3,})[ \t]*$/;
/** Other kinds of space are text. */
const empty = /^[ \t]*$/;
/** What makes the line above it a heading. */
const underline = /^ {0,3}(?=(?:=+|-+)[ \t]*$)/;

/**
 * A message's own Markdown stays as it is, but it cannot reach beyond itself: raw HTML becomes text, its headings
 * stay below ours, and a code block that was never closed (an interrupted answer) is closed. Where programs differ in
 * what is code, it counts as none. Linear in the length of the text, whatever a model has written.
 */
export function safeMarkdown(text: string): string {
  let fence = '';
  let paragraph = new Paragraph();
  const lines: string[] = [];
  for (const line of text.replaceAll('\r\n', '\n').replaceAll(controlCharacters, '').split('\n')) {
    if (fence !== '') {
      lines.push(line);
      if (closingFence.exec(line)?.[1]?.startsWith(fence)) fence = '';
      continue;
    }
    fence = openingFence.exec(line)?.[1] ?? '';
    if (fence !== '' || empty.test(line)) paragraph = new Paragraph();
    // At the margin a fence ends every list: within one it would end with the list, and what follows were no code.
    lines.push(fence === '' ? paragraph.next(line) : line.trimStart());
  }
  if (fence !== '') lines.push(fence);
  return lines.join('\n');
}

/** Lines without an empty one between them: a code span may go over several of them, of which we take none for code. */
class Paragraph {
  #isBegun = false;
  #hasOpenSpan = false;

  next(line: string): string {
    const isBelowText = this.#isBegun;
    this.#isBegun = !empty.test(line);
    if (isBelowText && underline.test(line)) return line.replace(underline, '\\');
    const [whole = '', indent = '', marks = ''] = /^( {0,3})(#{1,6})(?=\s|$)/.exec(line) ?? [];
    const start = marks === '' ? '' : `${indent}${'#'.repeat(Math.min(6, marks.length + headingsAbove))}`;
    return `${start}${this.#escapeTags(line.slice(whole.length))}`;
  }

  /** Escapes what could begin an HTML tag, except within code spans, which are shown as they are. */
  #escapeTags(line: string): string {
    const spans = this.#hasOpenSpan ? [] : this.#codeSpans(line);
    const parts: string[] = [];
    let done = 0;
    for (const { start, end } of spans) {
      parts.push(escapeTagStarts(line.slice(done, start)), line.slice(start, end));
      done = end;
    }
    return parts.join('') + escapeTagStarts(line.slice(done));
  }

  #codeSpans(line: string): { start: number; end: number }[] {
    const spans: { start: number; end: number }[] = [];
    const closing = new Closers(line);
    // An escaped character, a run of backticks, or where a link's address begins, which takes backticks for its own.
    const marks = /\\[^]|`+|\][(:[]/g;
    for (let mark = marks.exec(line); mark; mark = marks.exec(line)) {
      const { index: start, 0: found } = mark;
      if (found.startsWith('\\')) continue;
      const end = found.startsWith('`') ? closing.after(marks.lastIndex, found.length) : null;
      // Cells of a table are cut before their text is read.
      const isDisputed = found.startsWith(']') || (end !== null && line.slice(start, end).includes('|'));
      this.#hasOpenSpan ||= isDisputed || end === null;
      if (isDisputed) break;
      if (end === null) continue;
      spans.push({ start, end });
      marks.lastIndex = end;
    }
    return spans;
  }
}

/** Runs of backticks by their length; asked from left to right. */
class Closers {
  readonly #ends = new Map<number, number[]>();

  constructor(line: string) {
    for (const { index, 0: run } of [...line.matchAll(/`+/g)].reverse()) {
      const ends = this.#ends.get(run.length) ?? [];
      if (ends.length === 0) this.#ends.set(run.length, ends);
      ends.push(index + run.length);
    }
  }

  /** The end of the next run of this length that begins at `from` or later. */
  after(from: number, length: number): number | null {
    const ends = this.#ends.get(length) ?? [];
    while (ends.length > 0 && (ends.at(-1) ?? 0) - length < from) ends.pop();
    return ends.at(-1) ?? null;
  }
}

/** As an entity: a backslash before it may be escaped itself. What is escaped already stays. */
function escapeTagStarts(text: string): string {
  return text.replaceAll(/\\[^]|<(?=[a-zA-Z/!?])/g, (found) => (found === '<' ? '&lt;' : found));
}
