/** Writes the model of the automatic tests: `node scripts/make-tiny-gguf.ts --mode story --out tiny.gguf`. */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { buildTinyGguf } from '../test/support/tiny-gguf.ts';
import type { TinyMode } from '../test/support/tiny-gguf.ts';

const modes: readonly string[] = ['story', 'loop', 'random'] satisfies TinyMode[];
const isMode = (value: string): value is TinyMode => modes.includes(value);

const { values } = parseArgs({
  options: {
    mode: { type: 'string', default: 'story' },
    out: { type: 'string' },
    name: { type: 'string' },
    'context-length': { type: 'string' },
  },
});
if (!isMode(values.mode) || values.out === undefined) {
  console.error('usage: node scripts/make-tiny-gguf.ts --out FILE [--mode story|loop|random] [--name NAME] [--context-length N]');
  process.exit(2);
}
const contextLength = values['context-length'] === undefined ? {} : { contextLength: Number(values['context-length']) };
const bytes = buildTinyGguf({ mode: values.mode, ...contextLength, ...(values.name === undefined ? {} : { name: values.name }) });
writeFileSync(values.out, bytes);
console.log(`${values.out}: ${bytes.length} bytes`);
