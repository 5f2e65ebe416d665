import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { safeMarkdown } from '../../../src/domains/chat/export/safe-markdown.ts';

describe('Markdown of a message', () => {
  it.each([
    ['plain *text* stays', 'plain *text* stays', 'plain *text* stays'],
    ['headings go below ours', '# a\n###### b\n#no heading', '### a\n###### b\n#no heading'],
    ['tags become text', 'a <b>c</b> <!-- d --> 1 < 2', 'a &lt;b>c&lt;/b> &lt;!-- d --> 1 < 2'],
    ['code spans stay', '`<a>` ``<b>`c`` <d>', '`<a>` ``<b>`c`` &lt;d>'],
    ['an unclosed code span is none', '`<a>', '`&lt;a>'],
    ['code blocks stay and are closed', '~~~html\n<a>\n# x', '~~~html\n<a>\n# x\n~~~'],
    ['a longer fence is closed by its own kind only', '````\n```\n<a>\n````\n<b>', '````\n```\n<a>\n````\n&lt;b>'],
    ['a backslash before a tag does not undo the escape', '\\<a> \\\\<b>', '\\<a> \\\\&lt;b>'],
    ['an escaped backtick begins no code', '\\` <a> `', '\\` &lt;a> `'],
    ['a code span that goes over lines hides no tag in the next one', 'a `\n` <b> `', 'a `\n` &lt;b> `'],
    ['an empty line ends what an open backtick puts in doubt', 'a `\n\n`<b>`', 'a `\n\n`<b>`'],
    ['cells of a table are cut before code is read', '| ` | <b> ` |', '| ` | &lt;b> ` |'],
    ['a backtick in an address begins no code', '[a](x`y) <b> `', '[a](x`y) &lt;b> `'],
    ['three backticks with one behind them begin no block', '```a`\n<b>', '```a`\n&lt;b>'],
    ['a code block in a list does not end with the list', '- a\n\n  ```\n<b>', '- a\n\n```\n<b>\n```'],
    ['a fence with more than space behind it closes nothing', '```\n<a>\n```\u00a0\n<b>', '```\n<a>\n```\u00a0\n<b>\n```'],
    ['underlined headings are none', 'a\n===\n\nb\n--\n\n---', 'a\n\\===\n\nb\n\\--\n\n---'],
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
    const escapes = '\\'.repeat(200_001);
    expect(safeMarkdown(escapes)).toBe(escapes);
  });
});
