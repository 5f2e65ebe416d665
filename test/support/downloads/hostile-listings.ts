/** Listings as no honest source gives them, and what must hold of whatever becomes of them. */
import { join } from 'node:path';
import { variantsOf } from '../../../src/domains/catalog/variants.ts';
import { modelFormats, type ModelFile } from '../../../src/domains/catalog/types.ts';
import { planDownload } from '../../../src/domains/downloads/planning/plan-download.ts';
import { createLayout } from '../../../src/domains/downloads/storage/model-layout.ts';
import { safeJoin } from '../../../src/domains/downloads/storage/safe-path.ts';
import { isAppError } from '../../../src/shared/errors.ts';
import type { SeededRandom } from '../seeded-random.ts';

const store = '/store/models';
const plainNames = ['model.Q4_K_M.gguf', 'model.Q8_0.gguf', 'mmproj-F16.gguf', 'config.json', 'README.md', 'model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors', 'tokenizer.model', 'sub', 'a'];
const hostilePieces = [
  '..', '.', '', '/', '\\', '\0', '~', '%2e%2e', '..%2f', 'CON', 'nul.gguf', 'COM1', 'aux.json', 'C:', 'a:b', '\u202e', '\u2028', '\u0007', '\u001b[2J', 'e\u0301', '\ud800', '\udfff.gguf', 'x'.repeat(300), 'name.', 'name ', ' name',
  '…', '．．', '..\u200b', '\ufeff', '__proto__', 'constructor', '-rf', '$(id)', '`id`', '|', '*', '?', '\n', '\r\nHost: x', 'blobs', 'refs', '.locks', '.git', '..gguf', 'models--x--y',
];
const digests = ['a'.repeat(64), 'A'.repeat(64), 'a'.repeat(63), 'g'.repeat(64), '../../etc/passwd', '', '0', `${'a'.repeat(63)}/`, `${'a'.repeat(64)}\n`, '..', '/etc/passwd', '\0'];
const gitIds = ['b'.repeat(40), 'b'.repeat(41), '../'.repeat(13) + 'x', '', 'B'.repeat(40), `${'b'.repeat(39)}\0`];
const revisions = ['c'.repeat(40), 'd'.repeat(64), '../../x', '', '..', 'main/../../x', '/', '\0', 'CON', 'C'.repeat(2_000), 'e\u0301'];
const sizes = [0, 1, 10, 2 ** 40, 2 ** 53, -1, 1.5, NaN, Infinity];

function pathOf(random: SeededRandom): string {
  if (random.below(3) > 0) return `${random.below(4) === 0 ? 'sub/' : ''}${random.pick(plainNames)}`;
  const pieces = Array.from({ length: 1 + random.below(5) }, () => (random.below(3) === 0 ? random.pick(plainNames) : random.below(8) === 0 ? String.fromCharCode(random.below(65_536)) : random.pick(hostilePieces)));
  return pieces.join(random.pick(['/', '/', '', '\\', '//']));
}

function fileOf(random: SeededRandom): ModelFile {
  const digest = random.below(4) > 0 ? `sha256:${'a'.repeat(64)}` : `${random.pick(['sha256:', '', 'sha256:sha256:'])}${random.pick(digests)}`;
  const sha256 = random.below(2) === 0 ? null : digest;
  const gitSha1 = random.below(2) === 0 ? null : random.below(4) > 0 ? 'b'.repeat(40) : random.pick(gitIds);
  return { path: pathOf(random), sizeBytes: random.below(6) > 0 ? 10 : random.pick(sizes), sha256, gitSha1, format: random.pick(modelFormats), securityStatus: null };
}

/** What is wrong with what became of one listing; nothing for one that was refused in order. */
export function faultsOfListing(random: SeededRandom): { faults: string[]; isRefused: boolean } {
  const files = Array.from({ length: 1 + random.below(4) }, () => fileOf(random));
  const revision = random.below(2) > 0 ? 'c'.repeat(40) : random.pick(revisions);
  const faults: string[] = [];
  try {
    const variants = variantsOf(files).map((variant) => ({ ...variant, recommended: false }));
    const all = { variant: null, include: ['**'], exclude: null, override: ['unsafe_format' as const, 'scan' as const] };
    const [first] = variants;
    const plan = planDownload({ revision, files, variants }, first && random.below(2) === 0 ? { ...all, variant: first.name, include: null } : all);
    const kind = random.pick(['huggingface', 'models_dir'] as const);
    const layout = createLayout({ store: kind, hfCacheDir: store, modelsDir: store, instance: '01234567' }, { ref: { source: 'huggingface', name: 'org/name', revision: null }, revision: plan.revision });
    const places = plan.files.flatMap((file) => {
      const { blobPath, partPath, lockPath } = layout.place(file);
      return [safeJoin(layout.folder, file.path), blobPath, partPath, ...(lockPath === null ? [] : [lockPath])];
    });
    for (const place of [layout.folder, ...places]) {
      if (place !== join(place) || !place.startsWith(`${store}/`) || place.includes('\0')) faults.push(`${JSON.stringify(place)} from ${JSON.stringify(files)}`);
    }
    const named = plan.files.map(({ path }) => safeJoin(layout.folder, path).toLowerCase());
    if (new Set(named).size !== named.length) faults.push(`two files in one place from ${JSON.stringify(files)}`);
    return { faults, isRefused: false };
  } catch (error) {
    // A revision is checked where it comes in; that one was not is an error of the layout's own.
    const isInOrder = isAppError(error) || (error instanceof Error && error.message === 'a path from outside was not checked');
    return { faults: isInOrder ? [] : [`${String(error)} from ${JSON.stringify({ files, revision })}`], isRefused: true };
  }
}
