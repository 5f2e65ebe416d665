import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { embeddedEngines } from '../../../src/domains/deployments/runtimes/llama-cpp/embedded-variants.ts';
import { VariantTrials } from '../../../src/domains/deployments/runtimes/llama-cpp/variant-trials.ts';

const vulkan = { kind: 'vulkan', packageName: '@node-llama-cpp/linux-x64-vulkan' } as const;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'llmm-trials-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** Trials by a program of the test's own in place of the one that loads the build. */
async function trialsBy(name: string, code: string): Promise<VariantTrials> {
  const program = join(folder, `${name}.mjs`);
  await writeFile(program, code);
  return new VariantTrials({ program });
}

it('either finds the graphics cards of a build that loads, or says why it does not', async () => {
  const trial = await new VariantTrials().of(vulkan);
  if (trial.loads) expect(trial.devices).toEqual(expect.any(Array));
  else expect(trial.reason).toMatch(/libvulkan|shared object|NoBinaryFound|ERR_/);
});

it.each([
  ['crashed', 'process.kill(process.pid, "SIGSEGV"); setInterval(() => {}, 1000);', 'it crashed (SIGSEGV)'],
  ['ended', 'console.log("\u001b[2J"); process.exit(3);', 'it ended with exit code 3'],
  ['said-nonsense', 'console.log("{\\"loads\\":7}");', 'it could not be tried'],
  ['flooded', 'for (let i = 0; i < 1e5; i += 1) console.log("x".repeat(100));', 'it could not be tried'],
])('takes a build whose trial has %s for one that does not load, and says so in our words', async (name, code, reason) => {
  expect(await (await trialsBy(name, code)).of(vulkan)).toEqual({ loads: false, reason });
});

it('waits no longer for a driver that hangs than it may', async () => {
  const program = join(folder, 'hangs.mjs');
  await writeFile(program, 'setInterval(() => {}, 1000);');
  expect(await new VariantTrials({ program, limitMs: 500 }).of(vulkan)).toEqual({ loads: false, reason: 'it did not load in time' });
});

it('tries each build once, however often and by however many it is asked', async () => {
  const count = join(folder, 'count');
  await appendFile(count, '');
  const trials = await trialsBy('counts', `import { appendFileSync } from 'node:fs'; appendFileSync(${JSON.stringify(count)}, 'x'); console.log('{"loads":true,"devices":["A card"]}');`);
  const asked = await Promise.all([trials.of(vulkan), trials.of(vulkan)]);
  expect([...asked, await trials.of(vulkan)]).toEqual(Array.from({ length: 3 }, () => ({ loads: true, devices: ['A card'] })));
  expect(await readFile(count, 'utf8')).toBe('x');
});

it('never says that a build is in use which does not load here, nor one without a graphics card', async () => {
  const nothingMissing = (): null => null;
  const broken = await embeddedEngines(await trialsBy('broken', 'console.log(JSON.stringify({ loads: false, reason: "libvulkan.so.1: cannot open shared object file" }));'), nothingMissing);
  const graphics = broken.filter(({ id }) => id !== 'embedded-cpu');
  for (const engine of graphics) expect(engine).toMatchObject({ available: false, inUse: false, detail: expect.stringMatching(/^Its build is not installed|does not load here: libvulkan\.so\.1: cannot open shared object file\.$/) });
  expect(broken.find(({ inUse }) => inUse)?.id).toBe('embedded-cpu');
  const cardless = await embeddedEngines(await trialsBy('cardless', 'console.log(JSON.stringify({ loads: true, devices: [] }));'), nothingMissing);
  expect(cardless.find(({ inUse }) => inUse)?.id).toBe('embedded-cpu');
  const working = await embeddedEngines(await trialsBy('working', 'console.log(JSON.stringify({ loads: true, devices: ["A card"] }));'), nothingMissing);
  const installed = working.filter(({ id, available }) => id !== 'embedded-cpu' && available);
  for (const engine of installed) expect(engine.detail).toBe('A card');
  expect(working.find(({ inUse }) => inUse)?.id).toBe(installed[0]?.id ?? 'embedded-cpu');
});
