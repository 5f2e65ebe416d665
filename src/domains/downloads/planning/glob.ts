/**
 * Glob patterns over file paths. A pattern without `/` is matched against the file's name in any folder, one with it
 * against the whole path. `*` and `?` stay within a folder, `**` does not, `[...]` is a set of characters, `{a,b}` a
 * choice. Time grows with pattern times path and never faster, whatever a caller writes.
 */

const patternLengthMax = 256;
const choicesMax = 64;

export type Glob = (path: string) => boolean;

type Token = { kind: 'char'; char: string } | { kind: 'any_char' } | { kind: 'set'; chars: string; negated: boolean } | { kind: 'star' } | { kind: 'double_star' };

/** Null for a pattern that is too long, too wide or not finished. */
export function parseGlob(pattern: string): Glob | null {
  if (pattern === '' || pattern.length > patternLengthMax) return null;
  const choices = expandBraces(pattern);
  if (choices === null) return null;
  const matchers = choices.map(parseOne);
  if (matchers.some((matcher) => matcher === null)) return null;
  return (path) => matchers.some((matcher) => matcher?.(path) ?? false);
}

function parseOne(pattern: string): Glob | null {
  const isNameOnly = !pattern.includes('/');
  // `folder/` means all that lies in it.
  const tokens = tokenize(pattern.endsWith('/') ? `${pattern}**` : pattern.replace(/^\//, ''));
  if (tokens === null) return null;
  return (path) => matches(tokens, isNameOnly ? path.slice(path.lastIndexOf('/') + 1) : path);
}

function expandBraces(pattern: string): string[] | null {
  const results: string[] = [];
  const pending = [pattern];
  for (let current = pending.pop(); current !== undefined; current = pending.pop()) {
    const match = /^([^{}]*)\{([^{}]*)\}(.*)$/s.exec(current);
    if (match) {
      const [, before = '', inside = '', after = ''] = match;
      pending.push(...inside.split(',').map((choice) => before + choice + after));
    } else if (/[{}]/.test(current)) return null;
    else results.push(current);
    if (results.length + pending.length > choicesMax) return null;
  }
  return results;
}

function tokenize(pattern: string): Token[] | null {
  const tokens: Token[] = [];
  for (let at = 0; at < pattern.length; ) {
    const char = pattern[at] ?? '';
    if (char === '*') {
      const end = /^\*+/.exec(pattern.slice(at))?.[0].length ?? 1;
      tokens.push({ kind: end > 1 ? 'double_star' : 'star' });
      at += end;
      // `**/x` also means `x` at the top.
      if (end > 1 && pattern[at] === '/' && tokens.length === 1) at += 1;
    } else if (char === '?') {
      tokens.push({ kind: 'any_char' });
      at += 1;
    } else if (char === '[') {
      const match = /^\[([!^]?)([^\]]+)\]/.exec(pattern.slice(at));
      if (!match) return null;
      tokens.push({ kind: 'set', negated: match[1] !== '', chars: match[2] ?? '' });
      at += match[0].length;
    } else {
      tokens.push({ kind: 'char', char });
      at += 1;
    }
  }
  return tokens;
}

/** For each prefix of the path whether the tokens so far match it; one pass over the path per token. */
function matches(tokens: readonly Token[], path: string): boolean {
  let reached = new Uint8Array(path.length + 1);
  reached[0] = 1;
  for (const token of tokens) {
    const next = new Uint8Array(path.length + 1);
    if (token.kind === 'star' || token.kind === 'double_star') {
      for (let at = 0; at <= path.length; at += 1) {
        const canGrow = at > 0 && next[at - 1] === 1 && (token.kind === 'double_star' || path[at - 1] !== '/');
        next[at] = reached[at] === 1 || canGrow ? 1 : 0;
      }
    } else {
      for (let at = 0; at < path.length; at += 1) if (reached[at] === 1 && accepts(token, path[at] ?? '')) next[at + 1] = 1;
    }
    reached = next;
  }
  return reached[path.length] === 1;
}

function accepts(token: Exclude<Token, { kind: 'star' | 'double_star' }>, char: string): boolean {
  if (token.kind === 'char') return token.char === char;
  if (char === '/') return false;
  return token.kind === 'any_char' || isInSet(token.chars, char) !== token.negated;
}

function isInSet(chars: string, char: string): boolean {
  for (let at = 0; at < chars.length; at += 1) {
    const isRange = chars[at + 1] === '-' && at + 2 < chars.length;
    if (isRange ? (chars[at] ?? '') <= char && char <= (chars[at + 2] ?? '') : chars[at] === char) return true;
    if (isRange) at += 2;
  }
  return false;
}
