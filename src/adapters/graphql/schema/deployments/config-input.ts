import { z } from 'zod';
import type { DeploymentConfig as Config } from '../../../../domains/deployments/types.ts';
import { withoutNulls } from '../../nulls.ts';
import { builder } from '../../builder.ts';
import { listMax, nameText, numberFrom, textList, textMax, wholeNumber } from '../validation.ts';
import { RestartWhen } from './enums.ts';

const contextMax = 16_777_216;
const daySeconds = 86_400;
const environmentName = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;
const environmentValueMax = 4096;

/** A map of plain texts; which names an engine may be given is the runtime's to say. */
const environment = z
  .record(z.string().regex(environmentName, 'must have names of letters, digits and _'), z.string().max(environmentValueMax))
  .refine((map) => Object.keys(map).length <= listMax, `must not have more than ${listMax} names`)
  .nullish();

const HealthPolicyInput = builder.inputType('HealthPolicyInput', {
  description: 'How a deployment is watched.',
  fields: (t) => ({
    intervalSeconds: t.float({ description: 'Time between two checks, 1 to 3,600 seconds.', validate: numberFrom(1, 3600) }),
    timeoutSeconds: t.float({ description: 'How long a check may take, 1 to 600 seconds.', validate: numberFrom(1, 600) }),
    failures: t.int({ description: 'So many failed checks one after another make it unhealthy, 1 to 100.', validate: wholeNumber(1, 100) }),
    generationIntervalSeconds: t.float({ description: 'Where no answer has succeeded for so long, it is asked for one token, 1 to 86,400 seconds; without it, never.', validate: numberFrom(1, 86_400) }),
  }),
});

const RestartPolicyInput = builder.inputType('RestartPolicyInput', {
  description: 'What happens when a deployment ends by itself.',
  fields: (t) => ({
    policy: t.field({ type: RestartWhen, description: 'When it is started again.' }),
    maxRetries: t.int({ description: 'So many starts in vain and it is given up, 0 to 100.', validate: wholeNumber(0, 100) }),
  }),
});

export const DeploymentConfigInput = builder.inputType('DeploymentConfigInput', {
  description: "What to set for a deployment; what is left out is the runtime's default. A runtime refuses what it cannot honour.",
  fields: (t) => ({
    port: t.int({ description: 'Port to listen on, 0 to 65,535; 0 is any free one.', validate: wholeNumber(0, 65_535) }),
    gpuDevices: t.stringList({ description: 'Graphics cards that it may use, by UUID or number.', validate: textList(textMax.name) }),
    gpuLayers: t.int({ description: 'Layers on the graphics card, 0 to 10,000.', validate: wholeNumber(0, 10_000) }),
    contextSize: t.int({ description: 'Context of each answer, in tokens, 64 to 16,777,216.', validate: wholeNumber(64, contextMax) }),
    threads: t.int({ description: 'Processor threads, 1 to 1,024.', validate: wholeNumber(1, 1024) }),
    parallel: t.int({ description: 'Answers at once, 1 to 256.', validate: wholeNumber(1, 256) }),
    memoryLimitBytes: t.field({ type: 'ByteSize', description: 'Most memory that it may take, in bytes.' }),
    cpuLimit: t.float({ description: 'Most processor cores that it may take, 0.01 to 1,024.', validate: numberFrom(0.01, 1024) }),
    keepAliveSeconds: t.int({
      description: 'Unload it when nobody used it for so long, in seconds, and load it again with the next request; 0 is right after each answer, -1 or none is never.',
      validate: wholeNumber(-1, 365 * daySeconds),
    }),
    environment: t.field({ type: 'JSON', description: 'Environment variables, name to value.', validate: environment }),
    image: t.string({ description: 'Container image.', validate: nameText(textMax.pattern) }),
    extraArgs: t.stringList({ description: 'Further arguments of the engine.', validate: textList(textMax.pattern) }),
    health: t.field({ type: HealthPolicyInput, description: 'How it is watched.' }),
    restart: t.field({ type: RestartPolicyInput, description: 'What happens when it ends by itself.' }),
    baseUrl: t.string({ description: 'Address of the server, for `remote`.', validate: nameText(2048) }),
    apiKey: t.string({ description: 'Key of the server, for `remote`; never shown again.', validate: nameText(4096) }),
    model: t.string({ description: "The model's name at the server, for `remote`.", validate: nameText(textMax.name) }),
  }),
});

/** The config without what was not given, and the key, which is kept apart from it. */
export function toConfig(input: typeof DeploymentConfigInput.$inferInput): { config: Config; apiKey: string | undefined } {
  const { apiKey, health, restart, environment: variables, ...rest } = input;
  const config: Config = {
    ...withoutNulls(rest),
    ...(health ? { health: withoutNulls(health) } : {}),
    ...(restart ? { restart: withoutNulls(restart) } : {}),
    // Checked above to be a map of texts; the scalar's type does not say so.
    ...(variables ? { environment: variables as Record<string, string> } : {}),
  };
  return { config, apiKey: apiKey ?? undefined };
}
