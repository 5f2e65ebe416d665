import { z } from 'zod';
import type { StartDeployment } from '../../../../domains/deployments/types.ts';
import { builder } from '../../builder.ts';
import { principalOf } from '../../context.ts';
import { toUuid } from '../../ids.ts';
import { payloadOf, resultOf } from '../mutation.ts';
import { ConflictError, InvalidStateError, ModelDoesNotFitError, ModelRefusedError, NotFoundError, outcomeOf, UnavailableError } from '../user-error.ts';
import { listMax, nameText, textMax } from '../validation.ts';
import { DeploymentConfigInput, toConfig } from './config-input.ts';
import { Deployment } from './deployment.ts';
import { DeploymentOverride } from './enums.ts';

const role = 'OPERATOR';

/** Goes into addresses and clients' configurations. */
const nameRule = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, 'must be 1 to 63 of a-z, 0-9, dot, dash and underscore, beginning with a letter or digit')
  .nullish();

const StartDeploymentInput = builder.inputType('StartDeploymentInput', {
  description: 'What to run, or which stopped deployment to start again.',
  fields: (t) => ({
    deploymentId: t.id({ description: 'Start this stopped deployment again (plain UUID or global id); nothing else may be given.' }),
    modelId: t.field({ type: 'ModelId', description: 'The model; must be installed. Not for `remote`.' }),
    variant: t.string({ description: 'The variant; default: the recommended one of those installed.', validate: nameText(textMax.name) }),
    runtime: t.string({ description: 'Id of the runtime; default: the one for the format of the model.', validate: nameText(textMax.name) }),
    name: t.string({ description: 'Name of the deployment; default: made from the name of the model.', validate: nameRule }),
    config: t.field({ type: DeploymentConfigInput, description: 'What to set for it.' }),
    override: t.field({ type: [DeploymentOverride], description: 'Rules to set aside; ADMIN only.', validate: z.array(z.unknown()).max(listMax).nullish() }),
    idempotencyKey: t.string({ description: 'The same key again answers with the first result.', validate: nameText(textMax.idempotencyKey) }),
  }),
});

const deploymentIdField = { required: true, description: 'The deployment: plain UUID or global id.' } as const;
const StopDeploymentInput = builder.inputType('StopDeploymentInput', { description: 'Which deployment to stop.', fields: (t) => ({ deploymentId: t.id(deploymentIdField) }) });
const RestartDeploymentInput = builder.inputType('RestartDeploymentInput', { description: 'Which deployment to restart.', fields: (t) => ({ deploymentId: t.id(deploymentIdField) }) });
const DeleteDeploymentInput = builder.inputType('DeleteDeploymentInput', { description: 'Which deployment to remove.', fields: (t) => ({ deploymentId: t.id(deploymentIdField) }) });
const UpdateDeploymentInput = builder.inputType('UpdateDeploymentInput', {
  description: 'What to change about a deployment.',
  fields: (t) => ({
    deploymentId: t.id(deploymentIdField),
    name: t.string({ description: 'Its new name.', validate: nameRule }),
    config: t.field({ type: DeploymentConfigInput, description: 'Its new config in full; takes effect with the next start. Its key cannot be changed.' }),
  }),
});

function toStartDeployment(input: typeof StartDeploymentInput.$inferInput): StartDeployment {
  const { config, apiKey } = input.config ? toConfig(input.config) : {};
  return {
    override: input.override ?? [],
    ...(input.deploymentId ? { deploymentId: toUuid('Deployment', input.deploymentId) } : {}),
    ...(input.modelId ? { modelId: input.modelId } : {}),
    ...(input.variant ? { variant: input.variant } : {}),
    ...(input.runtime ? { runtime: input.runtime } : {}),
    ...(input.name ? { name: input.name } : {}),
    ...(config ? { config } : {}),
    ...(apiKey ? { apiKey } : {}),
    ...(input.idempotencyKey ? { idempotencyKey: input.idempotencyKey } : {}),
  };
}

builder.mutationField('startDeployment', (t) =>
  t.field({
    type: payloadOf('StartDeployment', 'deployment', Deployment),
    authScopes: { role },
    description: 'Runs an installed model, or a stopped deployment again. Answers at once; follow it with `deploymentStatus`.',
    args: { input: t.arg({ type: StartDeploymentInput, required: true, description: 'What to run.' }) },
    errors: resultOf('StartDeployment', [NotFoundError, ConflictError, InvalidStateError, ModelRefusedError, ModelDoesNotFitError, UnavailableError]),
    resolve: (_root, { input }, context) =>
      outcomeOf(async () => ({ deployment: await context.services.deployments.start(toStartDeployment(input), principalOf(context), context.signal) })),
  }),
);

builder.mutationField('stopDeployment', (t) =>
  t.field({
    type: payloadOf('StopDeployment', 'deployment', Deployment),
    authScopes: { role },
    description: 'Stops a deployment; running answers are finished first.',
    args: { input: t.arg({ type: StopDeploymentInput, required: true, description: 'Which one.' }) },
    errors: resultOf('StopDeployment', [NotFoundError, InvalidStateError]),
    resolve: (_root, { input }, { services, signal }) =>
      outcomeOf(async () => ({ deployment: await services.deployments.stop(toUuid('Deployment', input.deploymentId), signal) })),
  }),
);

builder.mutationField('restartDeployment', (t) =>
  t.field({
    type: payloadOf('RestartDeployment', 'deployment', Deployment),
    authScopes: { role },
    description: 'Stops a deployment and starts it again.',
    args: { input: t.arg({ type: RestartDeploymentInput, required: true, description: 'Which one.' }) },
    errors: resultOf('RestartDeployment', [NotFoundError, InvalidStateError, ConflictError, ModelRefusedError, ModelDoesNotFitError, UnavailableError]),
    resolve: (_root, { input }, context) =>
      outcomeOf(async () => ({ deployment: await context.services.deployments.restart(toUuid('Deployment', input.deploymentId), principalOf(context), context.signal) })),
  }),
);

builder.mutationField('updateDeployment', (t) =>
  t.field({
    type: payloadOf('UpdateDeployment', 'deployment', Deployment),
    authScopes: { role },
    description: 'Changes the name or the config of a deployment.',
    args: { input: t.arg({ type: UpdateDeploymentInput, required: true, description: 'What to change.' }) },
    errors: resultOf('UpdateDeployment', [NotFoundError, InvalidStateError, ConflictError, ModelRefusedError]),
    resolve: (_root, { input }, { services, signal }) => {
      const change = { ...(input.name ? { name: input.name } : {}), ...(input.config ? { config: toConfig(input.config).config } : {}) };
      return outcomeOf(async () => ({ deployment: await services.deployments.update(toUuid('Deployment', input.deploymentId), change, signal) }));
    },
  }),
);

builder.mutationField('deleteDeployment', (t) =>
  t.field({
    type: payloadOf('DeleteDeployment', 'deployment', Deployment),
    authScopes: { role },
    description: 'Stops a deployment and removes it with its log.',
    args: { input: t.arg({ type: DeleteDeploymentInput, required: true, description: 'Which one.' }) },
    errors: resultOf('DeleteDeployment', [NotFoundError, InvalidStateError]),
    resolve: (_root, { input }, { services, signal }) =>
      outcomeOf(async () => ({ deployment: await services.deployments.delete(toUuid('Deployment', input.deploymentId), signal) })),
  }),
);
