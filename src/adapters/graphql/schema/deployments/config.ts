import type { DeploymentConfig as Config, HealthPolicy as Health, RestartPolicy as Restart } from '../../../../domains/deployments/types.ts';
import { builder } from '../../builder.ts';
import { RestartWhen } from './enums.ts';

const HealthPolicy = builder.objectRef<Partial<Health>>('HealthPolicy').implement({
  description: 'How a deployment is watched.',
  fields: (t) => ({
    intervalSeconds: t.float({ nullable: true, description: 'Time between two checks, in seconds.', resolve: (health) => health.intervalSeconds ?? null }),
    timeoutSeconds: t.float({ nullable: true, description: 'How long a check may take, in seconds.', resolve: (health) => health.timeoutSeconds ?? null }),
    failures: t.int({ nullable: true, description: 'So many failed checks one after another make it unhealthy.', resolve: (health) => health.failures ?? null }),
    generationIntervalSeconds: t.float({ nullable: true, description: 'Where no answer has succeeded for so long, in seconds, it is asked for one token; null = never.', resolve: (health) => health.generationIntervalSeconds ?? null }),
  }),
});

const RestartPolicy = builder.objectRef<Partial<Restart>>('RestartPolicy').implement({
  description: 'What happens when a deployment ends by itself.',
  fields: (t) => ({
    policy: t.field({ type: RestartWhen, nullable: true, description: 'When it is started again.', resolve: (restart) => restart.policy ?? null }),
    maxRetries: t.int({ nullable: true, description: 'So many starts in vain and it is given up.', resolve: (restart) => restart.maxRetries ?? null }),
  }),
});

/** What an operator set; null = the runtime's default. */
export const DeploymentConfig = builder.objectRef<Config>('DeploymentConfig').implement({
  description: "What was set for a deployment; null is the runtime's default.",
  fields: (t) => ({
    port: t.int({ nullable: true, description: 'Port that it listens on; 0 is any free one.', resolve: (config) => config.port ?? null }),
    gpuDevices: t.stringList({ nullable: true, description: 'Graphics cards that it may use, by UUID or number.', resolve: ({ gpuDevices }) => (gpuDevices ? [...gpuDevices] : null) }),
    gpuLayers: t.int({ nullable: true, description: 'Layers on the graphics card; -1 is all.', resolve: (config) => config.gpuLayers ?? null }),
    contextSize: t.int({ nullable: true, description: 'Context of each answer, in tokens.', resolve: (config) => config.contextSize ?? null }),
    threads: t.int({ nullable: true, description: 'Processor threads.', resolve: (config) => config.threads ?? null }),
    parallel: t.int({ nullable: true, description: 'Answers at once.', resolve: (config) => config.parallel ?? null }),
    memoryLimitBytes: t.field({ type: 'ByteSize', nullable: true, description: 'Most memory that it may take, in bytes.', resolve: (config) => config.memoryLimitBytes ?? null }),
    cpuLimit: t.float({ nullable: true, description: 'Most processor cores that it may take.', resolve: (config) => config.cpuLimit ?? null }),
    keepAliveSeconds: t.float({ nullable: true, description: 'It is unloaded when nobody used it for so long, in seconds, and loaded again by the next request; -1 or none is never.', resolve: (config) => config.keepAliveSeconds ?? null }),
    environment: t.field({ type: 'JSON', nullable: true, description: 'Environment variables, name to value.', resolve: (config) => config.environment ?? null }),
    image: t.string({ nullable: true, description: 'Container image.', resolve: (config) => config.image ?? null }),
    extraArgs: t.stringList({ nullable: true, description: 'Further arguments of the engine.', resolve: ({ extraArgs }) => (extraArgs ? [...extraArgs] : null) }),
    health: t.field({ type: HealthPolicy, nullable: true, description: 'How it is watched.', resolve: (config) => config.health ?? null }),
    restart: t.field({ type: RestartPolicy, nullable: true, description: 'What happens when it ends by itself.', resolve: (config) => config.restart ?? null }),
    baseUrl: t.string({ nullable: true, description: 'Address of the server, for `remote`.', resolve: (config) => config.baseUrl ?? null }),
    model: t.string({ nullable: true, description: "The model's name at the server, for `remote`.", resolve: (config) => config.model ?? null }),
  }),
});
