import { defineEntity, p } from '@mikro-orm/core';
import type { InstalledFile } from './types.ts';

const InstalledModelSchema = defineEntity({
  name: 'InstalledModel',
  tableName: 'installed_models',
  uniques: [{ properties: ['modelId', 'revision', 'variantKey'] }],
  properties: {
    id: p.uuid().primary(),
    modelId: p.string(),
    revision: p.string(),
    variant: p.string().nullable(),
    /** The variant, or a hash of the file selection: with the model and revision it names what is installed. */
    variantKey: p.string(),
    format: p.string(),
    quantization: p.string().nullable(),
    sizeBytes: p.bigint('number'),
    /** Absolute. */
    folder: p.text(),
    files: p.json<readonly InstalledFile[]>(),
    verification: p.enum(['verified', 'damaged', 'missing'] as const),
    installedAt: p.datetime(),
    lastUsedAt: p.datetime().nullable(),
    verifiedAt: p.datetime().nullable(),
  },
});

/** One variant of a model on disk, every file hashed before it was entered here. */
export class InstalledModel extends InstalledModelSchema.class {}
InstalledModelSchema.setClass(InstalledModel);
