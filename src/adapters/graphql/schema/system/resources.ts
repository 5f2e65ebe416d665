import type { DeploymentUse, DiskSample, GpuSample, ResourcesSample } from '../../../../shared/resources-sample.ts';
import { mayUseDeployment } from '../../../../shared/principal.ts';
import { builder } from '../../builder.ts';
import { VolumePurpose } from '../downloads/enums.ts';

const Cpu = builder.objectRef<ResourcesSample['cpu']>('CpuUse').implement({
  description: 'What the processor does.',
  fields: (t) => ({
    model: t.exposeString('model', { description: 'Its name.' }),
    cores: t.exposeInt('cores', { description: 'Number of its cores.' }),
    percent: t.exposeFloat('percent', { description: 'How busy all cores together are, 0 to 100.' }),
    loadAverage: t.floatList({ description: 'Load over 1, 5 and 15 minutes.', resolve: (cpu) => [...cpu.loadAverage] }),
  }),
});

const Memory = builder.objectRef<ResourcesSample['memory']>('MemoryUse').implement({
  description: 'What the memory holds.',
  fields: (t) => ({
    totalBytes: t.expose('totalBytes', { type: 'ByteSize', description: 'Size in bytes.' }),
    availableBytes: t.expose('availableBytes', { type: 'ByteSize', description: 'What programs can still have, in bytes.' }),
    usedBytes: t.expose('usedBytes', { type: 'ByteSize', description: 'What is in use, in bytes.' }),
    swapTotalBytes: t.expose('swapTotalBytes', { type: 'ByteSize', description: 'Size of the swap space in bytes.' }),
    swapUsedBytes: t.expose('swapUsedBytes', { type: 'ByteSize', description: 'What is in use of it, in bytes.' }),
  }),
});

const Disk = builder.objectRef<DiskSample>('DiskUse').implement({
  description: 'What a disk holds.',
  fields: (t) => ({
    path: t.exposeString('path', { description: 'A folder on it.' }),
    purpose: t.expose('purpose', { type: VolumePurpose, description: 'What the folder is for.' }),
    totalBytes: t.expose('totalBytes', { type: 'ByteSize', description: 'Size in bytes.' }),
    availableBytes: t.expose('availableBytes', { type: 'ByteSize', description: 'What is free, in bytes.' }),
    usedBytes: t.expose('usedBytes', { type: 'ByteSize', description: 'What is in use, in bytes.' }),
    reservedBytes: t.expose('reservedBytes', { type: 'ByteSize', description: 'What unfinished downloads still need, in bytes.' }),
  }),
});

const Gpu = builder.objectRef<GpuSample>('GpuUse').implement({
  description: 'What a graphics card does.',
  fields: (t) => ({
    index: t.exposeInt('index', { description: 'Its number, counted from 0.' }),
    uuid: t.exposeString('uuid', { description: 'Its UUID.' }),
    name: t.exposeString('name', { description: 'Its name.' }),
    memoryTotalBytes: t.expose('memoryTotalBytes', { type: 'ByteSize', nullable: true, description: "Size of its own memory in bytes; null where it uses the machine's, as on Apple's chips." }),
    memoryUsedBytes: t.expose('memoryUsedBytes', { type: 'ByteSize', nullable: true, description: 'What is in use of it, in bytes; null where that is not told.' }),
    utilizationPercent: t.exposeFloat('utilizationPercent', { nullable: true, description: 'How busy it is, 0 to 100.' }),
    temperatureCelsius: t.exposeFloat('temperatureCelsius', { nullable: true, description: 'Its temperature in degrees Celsius.' }),
    powerWatts: t.exposeFloat('powerWatts', { nullable: true, description: 'What it draws, in watts.' }),
  }),
});

const Network = builder.objectRef<NonNullable<ResourcesSample['network']>>('NetworkUse').implement({
  description: 'What goes over the network, all programs together.',
  fields: (t) => ({
    receivedBytesPerSecond: t.exposeFloat('receivedBytesPerSecond', { description: 'What comes in, in bytes per second.' }),
    sentBytesPerSecond: t.exposeFloat('sentBytesPerSecond', { description: 'What goes out, in bytes per second.' }),
  }),
});

const ServiceProcess = builder.objectRef<ResourcesSample['process']>('ProcessUse').implement({
  description: 'What this service itself uses.',
  fields: (t) => ({
    pid: t.exposeInt('pid', { description: 'Number of its process.' }),
    uptimeSeconds: t.exposeFloat('uptimeSeconds', { description: 'How long it has been running, in seconds.' }),
    memoryBytes: t.expose('memoryBytes', { type: 'ByteSize', description: 'Its memory in bytes.' }),
    cpuPercent: t.exposeFloat('cpuPercent', { description: 'Its share of all processor cores together, 0 to 100.' }),
    openFiles: t.exposeInt('openFiles', { nullable: true, description: 'Number of its open files and sockets.' }),
    eventLoopDelayMs: t.exposeFloat('eventLoopDelayMs', { description: 'How late its event loop is, in milliseconds.' }),
  }),
});

const DeploymentShare = builder.objectRef<DeploymentUse>('DeploymentUse').implement({
  description: 'What one deployment uses; null where it cannot be told.',
  fields: (t) => ({
    deploymentId: t.exposeID('deploymentId', { description: 'Plain UUID of the deployment.' }),
    name: t.exposeString('name', { description: 'Its name.' }),
    cpuPercent: t.exposeFloat('cpuPercent', { nullable: true, description: 'Its share of all processor cores together, 0 to 100.' }),
    memoryBytes: t.expose('memoryBytes', { type: 'ByteSize', nullable: true, description: 'Its memory in bytes.' }),
    gpuMemoryBytes: t.expose('gpuMemoryBytes', { type: 'ByteSize', nullable: true, description: 'Its memory of graphics cards in bytes.' }),
  }),
});

export const SystemResources = builder.objectRef<ResourcesSample>('SystemResources').implement({
  description: 'What this machine and this service use at one moment.',
  fields: (t) => ({
    cpu: t.expose('cpu', { type: Cpu, description: 'The processor.' }),
    memory: t.expose('memory', { type: Memory, description: 'The memory.' }),
    disks: t.field({ type: [Disk], description: 'The disks that this service uses.', resolve: (sample) => [...sample.disks] }),
    gpus: t.field({ type: [Gpu], description: 'The graphics cards.', resolve: (sample) => [...sample.gpus] }),
    network: t.expose('network', { type: Network, nullable: true, description: 'The network; null where it cannot be told.' }),
    process: t.expose('process', { type: ServiceProcess, description: 'This service itself.' }),
    deployments: t.field({ type: [DeploymentShare], description: 'The deployments that run.', resolve: (sample, _args, { principal }) => sample.deployments.filter(({ deploymentId }) => principal !== null && mayUseDeployment(principal, deploymentId)) }),
    collectedAt: t.expose('collectedAt', { type: 'DateTime', description: 'When it was measured.' }),
  }),
});
