import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { safeMarkdown } from '../../../src/domains/chat/export/safe-markdown.ts';

describe('Markdown of a message', () => {
  it.each([
    ['plain *text* stays', 'plain *text* stays', 'plain *text* stays'],
    ['headings go below ours', '# a\n###### b\n#no heading', '### a\n###### b\n#no heading'],
    ['tags become text', 'a <b>c</b> <!-- d --> 1 < 2', 'a \\<b>c\\</b> \\<!-- d --> 1 < 2'],
    ['code spans stay', '`<a>` ``<b>`c`` <d>', '`<a>` ``<b>`c`` \\<d>'],
    ['an unclosed code span is none', '`<a>', '`\\<a>'],
    ['code blocks stay and are closed', '~~~html\n<a>\n# x', '~~~html\n<a>\n# x\n~~~'],
    ['a longer fence is closed by its own kind only', '````\n```\n<a>\n````\n<b>', '````\n```\n<a>\n````\n\\<b>'],
    ['controls go, tabs stay', 'a\u001b[31m\tb\u202e\u009b', 'a[31m\tb'],
  ])('%s', (_, text, expected) => {
    expect(safeMarkdown(text)).toBe(expected);
  });

  it('never leaves a code block open or a tag outside of code', () => {
    const line = fc.stringMatching(/^[`~#<a-c> ]{0,12}$/);
    fc.assert(
      fc.property(fc.array(line, { maxLength: 8 }), (lines) => {
        const after = safeMarkdown(lines.join('\n'));
        // Whatever follows is outside of the message: a heading there is a heading.
        expect(safeMarkdown(`${after}\n# next`).split('\n').at(-1)).toBe('### next');
      }),
    );
  });

  it('is made in time proportional to the text, whatever was written', () => {
    // Quadratic work would outlast the test's time here.
    const text = Array.from({ length: 200_000 }, (_, index) => '`'.repeat((index % 7) + 1)).join(' ');
    expect(safeMarkdown(text)).toBe(text);
  });
});
