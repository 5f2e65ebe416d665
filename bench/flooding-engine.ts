/**
 * A llama-server that writes lines at an even rate while a file is there: FLOOD_FILE names it, FLOOD_LINES_PER_SECOND says
 * how many. A while after the file has gone it says how many there were, when such a line is kept again.
 */
import { existsSync, writeSync } from 'node:fs';
import '../test/support/programs/llama-server-double.ts';

const file = process.env['FLOOD_FILE'] ?? '';
const linesPerMs = Number(process.env['FLOOD_LINES_PER_SECOND']) / 1000;
const everyMs = 10;
const restMs = 5_000;

let written = 0;
let startedAt: number | null = null;

function pour(): void {
  if (!existsSync(file)) {
    if (startedAt !== null) {
      const lines = written;
      setTimeout(() => writeSync(2, `flood over after ${lines} lines\n`), restMs);
    }
    startedAt = null;
    written = 0;
    return;
  }
  startedAt ??= performance.now();
  const due = Math.floor((performance.now() - startedAt) * linesPerMs);
  let text = '';
  for (; written < due; written += 1) text += `flood line ${written + 1} of a model server that has much to say\n`;
  if (text !== '') writeSync(2, text);
}

setInterval(pour, everyMs);
