/** Files of models with changes in them, some of them harmful from the start, and what must hold of every verdict. */
import { buildSafetensors } from '../safetensors.ts';
import type { SeededRandom } from '../seeded-random.ts';
import { buildTinyGguf } from '../tiny-gguf.ts';
import { dangerous, forms, oldTorchFile, op, padding, stateDict } from './pickles.ts';
import { buildZip } from './zip.ts';

export type Mutant = { path: string; bytes: Buffer; kind: 'gguf' | 'safetensors' | 'pickle' | 'zip' };

const gguf = buildTinyGguf();
const safetensors = buildSafetensors(1024);

function harmful(random: SeededRandom): Buffer {
  return random.pick(Object.values(forms))(random.pick(dangerous));
}

function pickle(random: SeededRandom): Buffer {
  const around = Array.from({ length: random.below(4) }, () => random.pick(padding));
  return random.pick([() => stateDict(), () => oldTorchFile(stateDict()), () => Buffer.concat([op.proto(2), ...around, harmful(random)]), () => oldTorchFile(harmful(random))])();
}

function zip(random: SeededRandom): Buffer {
  const content = random.below(2) === 0 ? stateDict() : Buffer.concat([op.proto(2), harmful(random)]);
  const members = [{ name: 'archive/data.pkl', content, deflated: random.below(2) === 0 }, { name: 'archive/version', content: '3\n' }, { name: 'archive/data/0', content: Buffer.alloc(16) }];
  return buildZip(members);
}

/** One of the ways in which bytes go wrong or are made to. */
function mutate(bytes: Buffer, random: SeededRandom): Buffer {
  const at = random.below(bytes.length + 1);
  const length = random.below(64);
  switch (random.below(8)) {
    case 0:
      return bytes.subarray(0, at);
    case 1:
      return Buffer.concat([bytes.subarray(0, at), Buffer.from(Array.from({ length }, () => random.below(256))), bytes.subarray(at)]);
    case 2:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.min(bytes.length, at + length))]);
    case 3:
      return Buffer.concat([bytes, bytes.subarray(at, at + length)]);
    case 4: {
      const changed = Buffer.from(bytes);
      const limit = [0, 1, 0xff, 0x7f, 0x80][random.below(5)] ?? 0;
      changed.fill(limit, at, Math.min(bytes.length, at + random.pick([1, 2, 4, 8])));
      return changed;
    }
    case 5: {
      const changed = Buffer.from(bytes);
      const from = random.below(bytes.length + 1);
      changed.copy(changed, at, from, Math.min(bytes.length, from + length));
      return changed;
    }
    default: {
      const changed = Buffer.from(bytes);
      for (let flips = 1 + random.below(4); flips > 0 && changed.length > 0; flips -= 1) {
        const place = random.below(changed.length);
        changed[place] = (changed[place] ?? 0) ^ (1 << random.below(8));
      }
      return changed;
    }
  }
}

export function mutantOf(random: SeededRandom): Mutant {
  const kind = random.pick(['gguf', 'safetensors', 'pickle', 'zip'] as const);
  const path = { gguf: 'model.gguf', safetensors: 'model.safetensors', pickle: random.pick(['data.pkl', 'pytorch_model.bin', 'model.ckpt']), zip: random.pick(['model.pt', 'pytorch_model.bin']) }[kind];
  // Changes in a header do more than those in the weights behind it.
  const base = { gguf: () => gguf, safetensors: () => safetensors, pickle: () => pickle(random), zip: () => zip(random) }[kind]();
  let bytes = base;
  for (let times = random.below(4); times > 0; times -= 1) bytes = mutate(bytes, random);
  return { path, bytes, kind };
}

/** Read by nothing of ours: whether tensors cover all bytes behind the header, each once. */
export function isSoundSafetensors(bytes: Buffer): boolean {
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString('utf8')) as Record<string, { data_offsets?: [number, number] }>;
  const spans = Object.entries(header).flatMap(([name, { data_offsets: span }]) => (name === '__metadata__' || !span ? [] : [span])).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  let end = 0;
  for (const [from, to] of spans) {
    if (from !== end || to < from) return false;
    end = to;
  }
  return 8 + length + end === bytes.length;
}
