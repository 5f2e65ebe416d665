#!/usr/bin/env node
// Plain JavaScript: it has to run on the Node that the machine has, whichever that is, to find the one that runs TypeScript.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';

const nodeMajorMin = 24;
const main = new URL('../src/main.ts', import.meta.url);

async function runWith(node) {
  const child = spawn(node, ['--disable-warning=ExperimentalWarning', fileURLToPath(main), ...process.argv.slice(2)], { stdio: 'inherit' });
  // What a terminal sends reaches the child as well; the child takes the second one for an echo.
  const forwarded = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of forwarded) process.on(signal, () => child.kill(signal));
  const [code, signal] = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (...ended) => resolve(ended));
  });
  process.exit(code ?? 128 + (constants.signals[signal] ?? 0));
}

if (Number(process.versions.node.split('.')[0]) >= nodeMajorMin) {
  await import(main.href);
} else {
  const node = fileURLToPath(new URL('../node_modules/.bin/node', import.meta.url));
  if (existsSync(node)) {
    await runWith(node);
  } else {
    process.stderr.write(`llm-manager: Node ${nodeMajorMin} or later is needed; "npm ci" in the checkout brings it.\n`);
    process.exit(1);
  }
}
