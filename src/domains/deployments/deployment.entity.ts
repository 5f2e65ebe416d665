import { defineEntity, p } from '@mikro-orm/core';
import type { StoredError } from '../../shared/errors.ts';
import { deploymentStatuses, desiredStatuses } from './deployment.machine.ts';
import type { DeploymentCommand, EngineAccess } from './elsewhere.ts';
import type { Keepsake, RuntimeHandle } from './runtime.ts';
import type { DeploymentConfig } from './types.ts';

const DeploymentSchema = defineEntity({
  name: 'Deployment',
  tableName: 'deployments',
  indexes: [{ properties: ['status', 'id'] }, { properties: ['modelId'] }],
  properties: {
    id: p.uuid().primary(),
    name: p.string().unique(),
    modelId: p.string().nullable(),
    variant: p.string().nullable(),
    installedModelId: p.uuid().nullable(),
    runtime: p.string(),
    status: p.enum(deploymentStatuses),
    desiredStatus: p.enum(desiredStatuses),
    config: p.json<DeploymentConfig>(),
    /** `remote` only: the key of the other server. Lazy, so that no list or log carries it by accident. */
    apiKey: p.text().nullable().lazy(),
    endpoint: p.text().nullable(),
    /** What to end after a crash. */
    handle: p.json<RuntimeHandle | null>().nullable(),
    /** What to take over after a crash. Lazy, because the engine's secret is in it. */
    keepsake: p.json<Keepsake | null>().nullable().lazy(),
    /** The service process that runs it, or did. */
    instanceId: p.uuid().nullable(),
    /** The machine of that process. */
    host: p.string().nullable(),
    /** What another process wants of that one. */
    command: p.json<DeploymentCommand | null>().nullable(),
    /** How other processes reach the engine. Lazy, because its secret is in it. */
    access: p.json<EngineAccess | null>().nullable().lazy(),
    /** Counts starts; the log's run number. */
    runs: p.integer(),
    restarts: p.integer(),
    /** Unexpected ends within the window that decides between another try and `failed`. */
    recentFailures: p.json<readonly string[]>(),
    lastExit: p.json<{ code: number | null; signal: string | null; at: string; reason: string | null } | null>().nullable(),
    error: p.json<StoredError | null>().nullable(),
    override: p.json<readonly string[]>(),
    createdBy: p.string(),
    createdAt: p.datetime(),
    startedAt: p.datetime().nullable(),
  },
});

/** One model that is meant to run, or did. */
export class Deployment extends DeploymentSchema.class {}
DeploymentSchema.setClass(Deployment);
