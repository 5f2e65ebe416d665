import { z } from 'zod';
import { modelIdOf, parseModelRef } from '../../../../domains/catalog/model-ref.ts';
import type { StorageJobs } from '../../../../domains/downloads/types.ts';
import { builder } from '../../builder.ts';
import { principalOf } from '../../context.ts';
import { toUuid } from '../../ids.ts';
import { payloadOf, resultOf } from '../mutation.ts';
import { InsufficientStorageError, InvalidStateError, ModelRefusedError, NotFoundError, outcomeOf, UnavailableError } from '../user-error.ts';
import { listMax, nameText, textMax } from '../validation.ts';
import { DownloadTask } from './download-task.ts';
import { OverridableRule } from './enums.ts';
import { InstalledModel } from './installed-model.ts';
import { jobDescription, StorageJob } from './storage-job.ts';

const installedModelId = { required: true, description: 'The installed model: plain UUID or global id.' } as const;
const VerifyInstalledModelInput = builder.inputType('VerifyInstalledModelInput', { description: 'Which installed model to verify.', fields: (t) => ({ installedModelId: t.id(installedModelId) }) });
const RepairInstalledModelInput = builder.inputType('RepairInstalledModelInput', { description: 'Which installed model to repair.', fields: (t) => ({ installedModelId: t.id(installedModelId) }) });
const pathMax = 4096;

const ImportModelInput = builder.inputType('ImportModelInput', {
  description: 'What to take in.',
  fields: (t) => ({
    path: t.string({ required: true, description: 'A file, or a folder with the files of a model, on the machine that the service runs on; absolute.', validate: nameText(pathMax) }),
    name: t.string({ description: 'The model becomes `local:<name>`; without one, the name of the file or folder.', validate: nameText(textMax.name) }),
    override: t.field({ type: [OverridableRule], description: 'Rules to set aside.', validate: z.array(z.unknown()).max(listMax).nullish() }),
  }),
});

const RepairInstalledModelPayload = builder.objectRef<Awaited<ReturnType<StorageJobs['repair']>>>('RepairInstalledModelPayload').implement({
  description: 'What `repairInstalledModel` answers.',
  fields: (t) => ({
    installedModel: t.expose('installedModel', { type: InstalledModel, description: 'As it was found.' }),
    task: t.expose('task', { type: DownloadTask, nullable: true, description: 'The download of what is wrong; null when nothing is, and while the job goes on.' }),
    job: t.expose('job', { type: StorageJob, nullable: true, description: jobDescription }),
  }),
});

const VerifyInstalledModelPayload = builder.objectRef<Awaited<ReturnType<StorageJobs['verify']>>>('VerifyInstalledModelPayload').implement({
  description: 'What `verifyInstalledModel` answers.',
  fields: (t) => ({
    installedModel: t.expose('installedModel', { type: InstalledModel, description: 'As it is now; while the job goes on, as it was when it was last verified.' }),
    job: t.expose('job', { type: StorageJob, nullable: true, description: jobDescription }),
  }),
});

const ImportModelPayload = builder.objectRef<Awaited<ReturnType<StorageJobs['import']>>>('ImportModelPayload').implement({
  description: 'What `importModel` answers.',
  fields: (t) => ({
    installedModels: t.field({ type: [InstalledModel], description: 'One for each variant that was found there; none while the job goes on.', resolve: ({ installedModels }) => [...installedModels] }),
    job: t.expose('job', { type: StorageJob, nullable: true, description: jobDescription }),
  }),
});

const AdoptModelsInput = builder.inputType('AdoptModelsInput', {
  description: 'Which models in the shared Hugging Face cache to take over.',
  fields: (t) => ({ modelId: t.field({ type: 'ModelId', description: 'Only this one; all when left out.' }) }),
});

const AdoptModelsPayload = builder.objectRef<Awaited<ReturnType<StorageJobs['adopt']>>>('AdoptModelsPayload').implement({
  description: 'What `adoptModels` answers.',
  fields: (t) => ({
    installedModels: t.field({ type: [InstalledModel], description: 'What counts as installed since then; none while the job goes on.', resolve: ({ installedModels }) => [...installedModels] }),
    job: t.expose('job', { type: StorageJob, nullable: true, description: jobDescription }),
  }),
});

builder.mutationField('adoptModels', (t) =>
  t.field({
    type: AdoptModelsPayload,
    authScopes: { role: 'OPERATOR' },
    description: 'Looks for models that other tools have put into the shared Hugging Face cache, as each start does. Those that are whole and sound count as installed then.',
    args: { input: t.arg({ type: AdoptModelsInput, required: true, description: 'Which ones.' }) },
    errors: resultOf('AdoptModels', [UnavailableError]),
    resolve: (_root, { input }, { services, signal }) =>
      outcomeOf(async () => await services.storageJobs.adopt(input.modelId ? modelIdOf(parseModelRef(input.modelId)) : null, signal)),
  }),
);

const CancelStorageJobInput = builder.inputType('CancelStorageJobInput', { description: 'Which work on stored models to end.', fields: (t) => ({ id: t.id({ required: true, description: 'The job: plain UUID or global id.' }) }) });

builder.mutationField('cancelStorageJob', (t) =>
  t.field({
    type: payloadOf('CancelStorageJob', 'job', StorageJob),
    authScopes: { role: 'OPERATOR' },
    description: 'Ends work on stored models that goes on: a model stays as it was, of an import nothing is left. One that was cancelled before stays as it is.',
    args: { input: t.arg({ type: CancelStorageJobInput, required: true, description: 'Which one.' }) },
    errors: resultOf('CancelStorageJob', [NotFoundError, InvalidStateError]),
    resolve: (_root, { input }, { services }) => outcomeOf(async () => ({ job: await services.storageJobs.cancel(toUuid('StorageJob', input.id)) })),
  }),
);

builder.mutationField('verifyInstalledModel', (t) =>
  t.field({
    type: VerifyInstalledModelPayload,
    authScopes: { role: 'OPERATOR' },
    description: 'Reads all files of a model, compares them with their digests and looks into them again.',
    args: { input: t.arg({ type: VerifyInstalledModelInput, required: true, description: 'Which one.' }) },
    errors: resultOf('VerifyInstalledModel', [NotFoundError]),
    resolve: (_root, { input }, { services, signal }) =>
      outcomeOf(() => services.storageJobs.verify(toUuid('InstalledModel', input.installedModelId), signal)),
  }),
);

builder.mutationField('repairInstalledModel', (t) =>
  t.field({
    type: RepairInstalledModelPayload,
    authScopes: { role: 'OPERATOR' },
    description: 'Verifies a model and fetches again what is wrong with it: of a large file only the parts that are.',
    args: { input: t.arg({ type: RepairInstalledModelInput, required: true, description: 'Which one.' }) },
    errors: resultOf('RepairInstalledModel', [NotFoundError, InvalidStateError, ModelRefusedError, InsufficientStorageError, UnavailableError]),
    resolve: (_root, { input }, context) =>
      outcomeOf(() => context.services.storageJobs.repair(toUuid('InstalledModel', input.installedModelId), principalOf(context), context.signal)),
  }),
);

builder.mutationField('importModel', (t) =>
  t.field({
    type: ImportModelPayload,
    authScopes: { role: 'ADMIN' },
    description: 'Takes files of this machine in as a model, by hard links where that can be; they are hashed and looked into first.',
    args: { input: t.arg({ type: ImportModelInput, required: true, description: 'What to take in.' }) },
    errors: resultOf('ImportModel', [NotFoundError, ModelRefusedError, InsufficientStorageError]),
    resolve: (_root, { input }, context) =>
      outcomeOf(async () => {
        const { path, name, override } = input;
        return await context.services.storageJobs.import({ path, override: override ?? [], ...(name ? { name } : {}) }, principalOf(context), context.signal);
      }),
  }),
);
