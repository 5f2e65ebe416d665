import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { descriptionOf, markdownToText, withoutFrontMatter } from '../../../src/domains/catalog/model-card.ts';
import { parseCount, parseSearchPage, parseTagsPage } from '../../../src/domains/catalog/sources/ollama/library-html.ts';

describe('model cards', () => {
  it('loses its front matter', () => {
    expect(withoutFrontMatter('---\nlicense: mit\n---\n# Title\n')).toBe('# Title');
    expect(withoutFrontMatter('\uFEFF---\r\na: b\r\n---\r\ntext')).toBe('text');
    expect(withoutFrontMatter('---\nnever closed')).toBe('---\nnever closed');
    expect(withoutFrontMatter('# No matter\n---\n')).toBe('# No matter\n---');
  });

  it('becomes plain text', () => {
    const card = '<!-- hidden -->\n# Title\n\n<div align="center"><img src="x.png"></div>\n\nA **bold** [link](https://example.com) &amp; `code` &#x1F600;\n\n- one\n- two\n\n```sh\nrun it\n```\n| a | b |\n|---|---|\n';
    expect(markdownToText(card)).toBe('Title\n\nA bold link & code \u{1F600}\n\none\ntwo\n\nrun it\n| a | b |');
  });

  it('is described by its first sentence, not by badges or headings', () => {
    const card = '# Model\n\n[![badge](https://a.b/c.svg)](https://a.b)\n\n| table |\n\nShort.\n\nThis model answers questions about *small* things, and does it _well_.\nIt has two lines.\n\nMore.';
    expect(descriptionOf(card)).toBe('This model answers questions about small things, and does it well. It has two lines.');
  });

  it('is described by nothing when it has no sentence', () => {
    expect(descriptionOf('# Only\n\n- a list of things that goes on for long enough to count\n')).toBeNull();
  });

  it('is cut at a word', () => {
    const text = descriptionOf('word '.repeat(500)) ?? '';
    expect(text.length).toBeLessThanOrEqual(601);
    expect(text.endsWith('word…')).toBe(true);
  });

  it('is read in time whatever it holds', () => {
    const nasty = ['<a', '![', '](', '*', '_', '&#', '<!--', '[x](', '---\n', '`', '|', ' ', 'a', '\n\n', '<'];
    fc.assert(
      fc.property(fc.constantFrom(...nasty), fc.constantFrom(...nasty), (first, second) => {
        const card = (first + second).repeat(100_000);
        expect(typeof markdownToText(card)).toBe('string');
        expect(descriptionOf(card)?.length ?? 0).toBeLessThanOrEqual(601);
      }),
      { numRuns: 30 },
    );
  });
});

describe('pages of the Ollama library', () => {
  const card = (name: string, inner = ''): string => `<li><a href="${name}" class="x"><h2>${name}</h2><p>About ${name} &amp; more</p>${inner}</a></li>`;

  it('are read by their links', () => {
    const { cards, hasNext, saysEmpty } = parseSearchPage(`<ul>${card('/library/qwen3', '<span>tools</span><span>8b</span><span>107.3M</span> <span>Pulls</span>')}${card('/user/model')}<li hx-get="/search?page=2"></li></ul>`, 1);
    expect(cards).toEqual([
      { name: 'qwen3', description: 'About /library/qwen3 & more', capabilities: ['tools'], sizes: ['8b'], pulls: 107_300_000, updatedAt: null },
      { name: 'user/model', description: 'About /user/model & more', capabilities: [], sizes: [], pulls: null, updatedAt: null },
    ]);
    expect({ hasNext, saysEmpty }).toEqual({ hasNext: true, saysEmpty: false });
  });

  it('give no names but good ones', () => {
    const hrefs = ['/library/../x', '/library/a b', '/library/a%2Fb', '/blog/post', '/docs/api', '/library/', '//evil.example', 'https://evil.example/library/x', '/library/x/tags', '/library/-x', `/library/${'a'.repeat(200)}`];
    expect(parseSearchPage(`<ul>${hrefs.map((href) => card(href)).join('')}</ul><a href="/user/outside-a-list">x</a>`, 1).cards).toEqual([]);
  });

  it('name each model once, with the first of its links', () => {
    expect(parseSearchPage(card('/library/a') + card('/library/a'), 1).cards).toHaveLength(1);
  });

  it('have a next page only where one is linked', () => {
    expect(parseSearchPage(`${card('/library/a')}<a href="/search?q=x&amp;page=3">`, 2).hasNext).toBe(true);
    expect(parseSearchPage(`${card('/library/a')}<a href="/search?page=30">`, 2).hasNext).toBe(false);
    expect(parseSearchPage(card('/library/a'), 1).hasNext).toBe(false);
  });

  it('tell an empty result from a page that cannot be read', () => {
    expect(parseSearchPage('<p>No models found</p>', 1).saysEmpty).toBe(true);
    expect(parseSearchPage('<main>Something else</main>', 1).saysEmpty).toBe(false);
  });

  it('list the tags of one model, each once', () => {
    const html = '<a href="/library/a:1b">x</a><a href="/library/a:1b">x</a><a href="/library/a:8b-q4_K_M">x</a><a href="/library/b:1b">x</a><a href="/library/a:../x">x</a>';
    expect(parseTagsPage(html, 'a')).toEqual(['1b', '8b-q4_K_M']);
  });

  it('are read in time whatever they hold', () => {
    const nasty = ['<a ', '<a href="', '<li', '</li>', '<p>', 'title="', '"', '>', '<a href="/library/a">', ' '];
    fc.assert(
      fc.property(fc.constantFrom(...nasty), fc.constantFrom(...nasty), (first, second) => {
        expect(parseSearchPage((first + second).repeat(20_000), 1).cards.length).toBeLessThanOrEqual(1);
      }),
      { numRuns: 40 },
    );
  });

  it.each([['107.3M', 107_300_000], ['1.2K', 1200], ['1,234', 1234], ['135m', 135_000_000], ['8.0B', 8e9], ['', null], ['many', null], ['8x7b', null]])('count %s as %s', (text, expected) => {
    expect(parseCount(text)).toBe(expected);
  });
});
