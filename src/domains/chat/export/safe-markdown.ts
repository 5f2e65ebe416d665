/** Terminal controls and characters that turn text around; line breaks and tabs stay. */
export const controlCharacters = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/** Our own headings take the first two levels. */
const headingsAbove = 2;

/**
 * A message's own Markdown stays as it is, but it cannot reach beyond itself: raw HTML becomes text, its headings
 * stay below ours, and a code block that was never closed (an interrupted answer) is closed. Linear in the length of
 * the text, whatever a model has written.
 */
export function safeMarkdown(text: string): string {
  let fence = '';
  const lines: string[] = [];
  for (const line of text.replaceAll('\r\n', '\n').replaceAll(controlCharacters, '').split('\n')) {
    const mark = /^ {0,3}(`{3,}|~{3,})/.exec(line)?.[1] ?? '';
    if (fence === '') {
      lines.push(mark === '' ? safeLine(line) : line);
      fence = mark;
      continue;
    }
    lines.push(line);
    if (mark.startsWith(fence) && line.trim() === mark) fence = '';
  }
  if (fence !== '') lines.push(fence);
  return lines.join('\n');
}

function safeLine(line: string): string {
  const heading = /^( {0,3})(#{1,6})(?=\s|$)/.exec(line);
  if (!heading) return escapeTags(line);
  const [whole, indent = '', marks = ''] = heading;
  return `${indent}${'#'.repeat(Math.min(6, marks.length + headingsAbove))}${escapeTags(line.slice(whole.length))}`;
}

/** Escapes what could begin an HTML tag, except within `code spans`, which are shown as they are. */
function escapeTags(line: string): string {
  const runs = [...line.matchAll(/`+/g)].map(({ index, 0: { length } }) => ({ start: index, end: index + length, length }));
  const closing = closingRuns(runs.map(({ length }) => length));
  const parts: string[] = [];
  let done = 0;
  for (const [place, run] of runs.entries()) {
    const close = runs[closing[place] ?? -1];
    if (run.start < done || !close) continue;
    parts.push(escapeTagStarts(line.slice(done, run.start)), line.slice(run.start, close.end));
    done = close.end;
  }
  return parts.join('') + escapeTagStarts(line.slice(done));
}

/** For each run of backticks the next one of the same length, which closes its span; -1 = none. */
function closingRuns(lengths: readonly number[]): number[] {
  const nextOfLength = new Map<number, number>();
  const closing = lengths.map(() => -1);
  for (let place = lengths.length - 1; place >= 0; place -= 1) {
    const length = lengths[place] ?? 0;
    closing[place] = nextOfLength.get(length) ?? -1;
    nextOfLength.set(length, place);
  }
  return closing;
}

function escapeTagStarts(text: string): string {
  return text.replaceAll(/<(?=[a-zA-Z/!?])/g, '\\<');
}
