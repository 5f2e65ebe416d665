/** Model cards are Markdown with a YAML block in front. Everything here is linear in the text, which is a stranger's. */

const descriptionLengthMax = 600;
const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: ' ' };

function codePointText(code: number): string {
  return code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff) ? String.fromCodePoint(code) : '';
}

export function decodeEntities(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]{2,8}));/gi, (whole, decimal?: string, hex?: string, name?: string) => {
    if (decimal !== undefined) return codePointText(Number(decimal));
    if (hex !== undefined) return codePointText(Number.parseInt(hex, 16));
    const key = (name ?? '').toLowerCase();
    return Object.hasOwn(entities, key) ? (entities[key] ?? whole) : whole;
  });
}

export function withoutFrontMatter(markdown: string): string {
  const text = markdown.replace(/^\uFEFF/, '').replaceAll('\r\n', '\n');
  if (!text.startsWith('---\n')) return text.trim();
  const end = text.indexOf('\n---', 3);
  if (end === -1) return text.trim();
  const lineEnd = text.indexOf('\n', end + 1);
  return lineEnd === -1 ? '' : text.slice(lineEnd + 1).trim();
}

function withoutBetween(text: string, open: string, close: string): string {
  let result = '';
  let at = 0;
  for (;;) {
    const start = text.indexOf(open, at);
    const end = start === -1 ? -1 : text.indexOf(close, start + open.length);
    if (end === -1) return result + text.slice(at);
    result += text.slice(at, start);
    at = end + close.length;
  }
}

export function withoutTags(html: string): string {
  return html.replace(/<\/?[a-z!][^<>]{0,4000}>/gi, ' ');
}

function plainLine(line: string): string {
  const stripped = line
    .replace(/^\s{0,12}(?:#{1,6}\s+|>\s?|[-*+]\s+|\d{1,4}[.)]\s+)/, '')
    .replace(/!\[[^\][]{0,500}\]\([^()]{0,2000}\)/g, '')
    .replace(/\[([^\][]{0,500})\]\([^()]{0,2000}\)/g, '$1')
    .replace(/(\*\*|__|~~|`)/g, '')
    .replace(/(^|\W)[*_](\S[^*_]{0,500})[*_](?=\W|$)/g, '$1$2');
  return decodeEntities(stripped).replace(/[ \t]{2,}/g, ' ').trim();
}

/** The card as plain text: blocks of lines, no markup. */
export function markdownToText(markdown: string): string {
  const withoutComments = withoutBetween(withoutFrontMatter(markdown), '<!--', '-->');
  const lines = withoutTags(withoutComments)
    .split('\n')
    .filter((line) => !/^\s*(?:```|~~~|\|?\s*:?-{3,})/.test(line))
    .map(plainLine);
  return lines.join('\n').replace(/\n{3,}/g, '\n\n').trim();
}

function isProse(block: string): boolean {
  const first = block.trimStart();
  if (/^(?:#|\||```|~~~|[-*+] |\d+[.)] |>|<(?:table|img|a |div|p align|h\d))/i.test(first)) return false;
  return plainLine(withoutTags(block).replaceAll('\n', ' ')).length >= 40;
}

/** The first paragraph that is a sentence rather than a badge, a heading or a table. */
export function descriptionOf(markdown: string): string | null {
  const body = withoutBetween(withoutFrontMatter(markdown), '<!--', '-->');
  const block = body.slice(0, 40_000).split(/\n[ \t]*\n/).find(isProse);
  if (block === undefined) return null;
  const text = plainLine(withoutTags(block).replace(/\s+/g, ' '));
  if (text.length <= descriptionLengthMax) return text;
  const cut = text.lastIndexOf(' ', descriptionLengthMax);
  return `${text.slice(0, cut > 0 ? cut : descriptionLengthMax)}…`;
}
