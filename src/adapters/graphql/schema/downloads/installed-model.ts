import type { InstalledFile as File, InstalledModelView, VolumeView } from '../../../../domains/downloads/types.ts';
import { strictest } from '../../../../domains/downloads/file-scanner.ts';
import { isId } from '../../../../shared/ids.ts';
import { builder } from '../../builder.ts';
import { ScanReport } from './scan-report.ts';
import { ScanVerdict, VerificationStatus, VolumePurpose } from './enums.ts';

const InstalledFile = builder.objectRef<File>('InstalledFile').implement({
  description: 'One file of an installed model.',
  fields: (t) => ({
    path: t.exposeString('path', { description: 'Relative to the folder of the model.' }),
    sizeBytes: t.expose('sizeBytes', { type: 'ByteSize', description: 'Size in bytes.' }),
    digest: t.expose('sha256', { type: 'Digest', nullable: true, description: 'SHA-256 that it had when it was checked.' }),
    damage: t.field({ type: VerificationStatus, nullable: true, description: 'What was wrong with it when it was last verified; null when nothing was.', resolve: (file) => file.damage ?? null }),
    scan: t.field({ type: ScanReport, nullable: true, description: 'What the scanners said before it got its name, or when it was last verified.', resolve: (file) => file.scan ?? null }),
  }),
});

export const InstalledModel = builder.objectRef<InstalledModelView>('InstalledModel');

builder.node(InstalledModel, {
  description: 'One variant of a model that lies on this disk.',
  id: { resolve: (model) => model.id },
  loadOne: (id, { services }) => (isId(id) ? services.installed.find(id) : null),
  fields: (t) => ({
    installedModelId: t.exposeID('id', { description: 'Its plain UUID.' }),
    modelId: t.expose('modelId', { type: 'ModelId', description: 'The model that it is a variant of.' }),
    revision: t.exposeString('revision', { description: 'Commit or manifest digest.' }),
    variant: t.exposeString('variant', { nullable: true, description: 'Name of the variant; null for a choice of files.' }),
    format: t.exposeString('format', { description: 'How its weights are stored, e.g. `gguf`.' }),
    quantization: t.exposeString('quantization', { nullable: true, description: 'How its weights are rounded.' }),
    sizeBytes: t.expose('sizeBytes', { type: 'ByteSize', description: 'Size of its files in bytes.' }),
    folder: t.exposeString('folder', { description: 'Folder that the paths of its files are relative to.' }),
    files: t.field({ type: [InstalledFile], description: 'Its files.', resolve: (model) => [...model.files] }),
    verification: t.expose('verification', { type: VerificationStatus, description: 'What is known about its files.' }),
    verdict: t.field({ type: ScanVerdict, description: 'The strictest verdict of its files.', resolve: ({ files }) => strictest(files.map(({ scan }) => scan?.verdict ?? 'NOT_SCANNED')) }),
    verifiedAt: t.field({ type: 'DateTime', nullable: true, description: 'When all its files were last compared with their digests.', resolve: (model) => model.verifiedAt ?? null }),
    installedAt: t.expose('installedAt', { type: 'DateTime', description: 'When it was installed.' }),
    lastUsedAt: t.expose('lastUsedAt', { type: 'DateTime', nullable: true, description: 'When a deployment last used it.' }),
  }),
});

export const StorageVolume = builder.objectRef<VolumeView>('StorageVolume').implement({
  description: 'A folder and the disk that it is on.',
  fields: (t) => ({
    path: t.exposeString('path', { description: 'The folder.' }),
    purpose: t.expose('purpose', { type: VolumePurpose, description: 'What it is for.' }),
    totalBytes: t.expose('totalBytes', { type: 'ByteSize', description: 'Size of the disk in bytes.' }),
    freeBytes: t.expose('freeBytes', { type: 'ByteSize', description: 'Free on the disk, in bytes.' }),
    reservedBytes: t.expose('reservedBytes', { type: 'ByteSize', description: 'What unfinished downloads still need, in bytes.' }),
    usedByModelsBytes: t.expose('usedByModelsBytes', { type: 'ByteSize', description: 'Used by models there, in bytes.' }),
  }),
});

export const Storage = builder.objectRef<{ volumes: readonly VolumeView[] }>('Storage').implement({
  description: 'Where things lie and how much room there is.',
  fields: (t) => ({
    volumes: t.field({ type: [StorageVolume], description: 'The folders with their disks.', resolve: (storage) => [...storage.volumes] }),
  }),
});
