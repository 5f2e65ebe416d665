import { Writable } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { createLogger } from '../../../src/infrastructure/logging/pino-logger.ts';
import { toTerminalText } from '../../../src/infrastructure/logging/safe-text.ts';

function collector(): { stream: Writable; text: () => string } {
  const chunks: string[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk.toString('utf8'));
      done();
    },
  });
  return { stream, text: () => chunks.join('') };
}

describe('the log', () => {
  it('leaves secrets out wherever they stand, two levels deep', () => {
    const { stream, text } = collector();
    const logger = createLogger({ level: 'info', pretty: false, destination: stream });
    logger.info({ authorization: 'Bearer hunter2', headers: { 'x-api-key': 'hunter2' }, deep: { config: { api_key: 'hunter2' } } }, 'called');
    expect(text()).toContain('called');
    expect(text()).not.toContain('hunter2');
  });

  it('writes of an error its text, code and causes, and not what a library has hung on it', () => {
    const { stream, text } = collector();
    const error = Object.assign(new Error('lost', { cause: new Error('reset') }), { code: 'ECONNRESET', client: { connection: 'secret-4711' } });
    const logger = createLogger({ level: 'info', pretty: false, destination: stream });
    logger.warn({ err: error }, 'one name');
    logger.warn({ error }, 'the other');
    for (const line of text().trimEnd().split('\n')) {
      const entry = JSON.parse(line) as Record<string, unknown>;
      expect(entry['err'] ?? entry['error']).toMatchObject({ message: 'lost', code: 'ECONNRESET', cause: { message: 'reset' } });
    }
    expect(text()).not.toContain('secret-4711');
  });

  it('gives a terminal nothing that it would obey', () => {
    expect(toTerminalText('a\u001b[31mred\u001b[0m\u009b31m\u202eevil\u2028x\ty')).not.toMatch(/[\u001b\u009b\u202e\u2028]/);
  });
});
