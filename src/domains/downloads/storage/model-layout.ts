import { createHash } from 'node:crypto';
import { dirname, join } from 'node:path';
import type { ModelRef } from '../../catalog/types.ts';
import { safeJoin } from './safe-path.ts';

/** What tells one file's bytes from all others. */
export type BlobKey = { path: string; sizeBytes: number; sha256: string | null; gitSha1: string | null };

export type BlobPlace = {
  blobPath: string;
  /** While it is fetched, beside the blob: a rename within one folder cannot fail half-way. */
  partPath: string;
  /** What other programs that share the folder lock while they fetch the same blob; null where two fetches do no harm. */
  lockPath: string | null;
};

/** Where one revision of one model lies. */
export type ModelLayout = {
  readonly store: 'huggingface' | 'models_dir';
  /** Folder that the models' paths start from; its volume is the one that fills up. */
  readonly root: string;
  /** Folder with the files under their own names. */
  readonly folder: string;
  place(file: BlobKey): BlobPlace;
  /** Where the name of the pinned revision is kept, if the layout has such a place. */
  refPath(requestedRevision: string | null): string | null;
};

export type LayoutOptions = {
  store: 'huggingface' | 'models_dir';
  hfCacheDir: string;
  modelsDir: string;
  /** Tells our partial files from those of another service that shares the folder. */
  instance: string;
};

export type LayoutModel = { ref: ModelRef; /** Pinned. */ revision: string };

export function createLayout(options: LayoutOptions, model: LayoutModel): ModelLayout {
  return options.store === 'huggingface' ? huggingFaceLayout(options, model) : modelsDirLayout(options, model);
}

/** Eight characters that stay the same for one data folder. */
export function instanceOf(dataDir: string): string {
  return createHash('sha256').update(dataDir).digest('hex').slice(0, 8);
}

/** A smaller file is here again before a lock, which takes a process of its own, is worth its while. */
const lockedBytesMin = 8 * 1024 * 1024;

/** The cache that Hugging Face's own tools use: `models--org--name/{blobs,refs,snapshots}` and `.locks`. */
function huggingFaceLayout({ hfCacheDir, instance }: LayoutOptions, { ref, revision }: LayoutModel): ModelLayout {
  const name = `models--${ref.name.replaceAll('/', '--')}`;
  const home = safeJoin(hfCacheDir, name);
  return {
    store: 'huggingface',
    root: hfCacheDir,
    folder: safeJoin(home, `snapshots/${revision}`),
    place: (file) => {
      // The tag that the Hub gives a file, which is what its tools name blobs by.
      const blob = file.sha256 ?? file.gitSha1 ?? undigested(ref, revision, file);
      const lockPath = file.sizeBytes < lockedBytesMin ? null : safeJoin(hfCacheDir, `.locks/${name}/${blob}.lock`);
      return placeOf(safeJoin(home, `blobs/${blob}`), instance, lockPath);
    },
    refPath: (requested) => (requested === revision ? null : safeJoin(home, `refs/${requested ?? 'main'}`)),
  };
}

/** Blobs by digest, shared by all models, and a readable tree of links beside them. */
function modelsDirLayout({ modelsDir, instance }: LayoutOptions, { ref, revision }: LayoutModel): ModelLayout {
  const short = revision.replace(/^sha256:/, '').replaceAll(/[^A-Za-z0-9]/g, '').slice(0, 12) || 'unknown';
  const label = ref.revision === null ? short : `${ref.revision.replaceAll('/', '-')}-${short}`;
  return {
    store: 'models_dir',
    root: modelsDir,
    folder: safeJoin(modelsDir, `${ref.source}/${ref.name}/${label}`),
    place: (file) => {
      const blob = file.sha256 === null ? (file.gitSha1 ?? undigested(ref, revision, file)) : `sha256-${file.sha256}`;
      return placeOf(safeJoin(modelsDir, `blobs/${blob}`), instance, null);
    },
    refPath: () => null,
  };
}

function placeOf(blobPath: string, instance: string, lockPath: string | null): BlobPlace {
  return { blobPath, partPath: join(dirname(blobPath), `${blobPath.slice(dirname(blobPath).length + 1)}.${instance}.part`), lockPath };
}

/** A file without a promised digest is told apart by where it comes from. */
function undigested(ref: ModelRef, revision: string, file: BlobKey): string {
  const facts = JSON.stringify([ref.source, ref.name, revision, file.path, file.sizeBytes]);
  return `unsigned-${createHash('sha256').update(facts).digest('hex')}`;
}
