import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { createBlame } from '../../../src/plugins/blame.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const blame = createBlame([{ name: 'words', folder: '/srv/plug ins/words' }, { name: 'here', folder: root.replace(/\/$/, '') }]);

function thrownAt(...places: readonly string[]): Error {
  return Object.assign(new Error('of /srv/nobody'), { stack: ['Error: of /srv/nobody', ...places.map((place) => `    at ${place}`)].join('\n') });
}

describe('a fault that nobody caught', () => {
  it('is the plug-in\'s in whose folder it was thrown, also while the service was calling', () => {
    expect(blame(thrownAt('Timeout._onTimeout (file:///srv/plug%20ins/words/index.js:3:9)', 'listOnTimeout (node:internal/timers:605:17)'))).toBe('words');
    expect(blame(thrownAt('search (file:///srv/plug%20ins/words/index.js:3:9)', `guarded (file://${root}src/plugins/guard-source.ts:9:1)`))).toBe('words');
    expect(blame(thrownAt(`Object.<anonymous> (${root}my-source.ts:1:1)`))).toBe('here');
  });

  it('is the plug-in\'s when a package that it uses has thrown it', () => {
    expect(blame(thrownAt('parse (/srv/plug ins/words/node_modules/zod/index.js:1:1)', 'read (/srv/plug ins/words/lib/read.cjs:3:9)'))).toBe('words');
  });

  it('is ours when our code has thrown it, or nobody knows', () => {
    expect(blame(thrownAt(`notify (file://${root}src/app.ts:1:1)`, 'search (file:///srv/plug%20ins/words/index.js:3:9)'))).toBeNull();
    expect(blame(thrownAt(`send (${root}node_modules/undici/index.js:1:1)`))).toBeNull();
    expect(blame(thrownAt('node:internal/timers:605:17'))).toBeNull();
    expect(blame('no error at all')).toBeNull();
  });
});
