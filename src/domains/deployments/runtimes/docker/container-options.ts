import type { ContainerCreateOptions, HostConfig } from 'dockerode';
import type { ImageStart, ImageTemplate } from './image-templates.ts';
import type { MountedFile } from './mounted-model.ts';

export type ContainerPlan = {
  start: ImageStart;
  template: ImageTemplate;
  image: string;
  labels: Readonly<Record<string, string>>;
  /** The files of this machine that it sees, read only. */
  files: readonly MountedFile[];
  /** What the machine has: the limit where none was set. */
  machine: { memoryBytes: number; cores: number };
};

const temporaryBytes = 256 * 1024 * 1024;
const nanosPerCore = 1e9;

/** The fixed template of every container. Nothing of it can be set but limits, devices, port and the image's own options. */
export function containerOptions(plan: ContainerPlan): ContainerCreateOptions {
  const { start, template, image, labels } = plan;
  const { config } = start;
  const port = `${template.port}/tcp`;
  const environment = { ...template.toEnvironment(start), ...config.environment };
  return {
    Image: image,
    Cmd: [...template.toArguments(start), ...(config.extraArgs ?? [])],
    Env: Object.entries(environment).map(([name, value]) => `${name}=${value}`),
    Labels: { ...labels },
    ExposedPorts: { [port]: {} },
    // Reads what the service may read, and no more: root in a container without capabilities is bound by the modes of files, too.
    ...userOf(template),
    Tty: false,
    OpenStdin: false,
    HostConfig: hostConfig(plan, port),
  };
}

function hostConfig({ start: { config }, template, files, machine }: ContainerPlan, port: string): HostConfig {
  const memory = config.memoryLimitBytes ?? machine.memoryBytes;
  return {
    Privileged: false,
    CapDrop: ['ALL'],
    SecurityOpt: ['no-new-privileges'],
    ReadonlyRootfs: true,
    Tmpfs: { '/tmp': `rw,nosuid,nodev,${template.isTmpExecutable ? 'exec' : 'noexec'},size=${temporaryBytes}` },
    Mounts: [...files.map(({ source, target }) => ({ Type: 'bind' as const, Source: source, Target: target, ReadOnly: true })), ...storeOf(template)],
    PortBindings: { [port]: [{ HostIp: '127.0.0.1', HostPort: config.port ? String(config.port) : '' }] },
    NetworkMode: 'bridge',
    IpcMode: 'private',
    ShmSize: template.sharedMemoryBytes,
    PidsLimit: template.pidsMax,
    Memory: memory,
    // The same: no swap on top, which would make the limit a hope.
    MemorySwap: memory,
    NanoCpus: Math.round((config.cpuLimit ?? machine.cores) * nanosPerCore),
    Init: true,
    RestartPolicy: { Name: 'no' },
    LogConfig: { Type: 'json-file', Config: { 'max-size': '10m', 'max-file': '2' } },
    ...(config.gpuDevices ? { DeviceRequests: [gpuRequest(config.gpuDevices)] } : {}),
  };
}

function userOf({ isRoot }: ImageTemplate): { User?: string } {
  if (isRoot) return { User: '0:0' };
  return process.getuid && process.getgid ? { User: `${process.getuid()}:${process.getgid()}` } : {};
}

/** Without a name it goes when its container is removed. */
function storeOf({ storeFolder }: ImageTemplate): { Type: 'volume'; Source: string; Target: string }[] {
  return storeFolder === null ? [] : [{ Type: 'volume', Source: '', Target: storeFolder }];
}

function gpuRequest(devices: readonly string[]): NonNullable<HostConfig['DeviceRequests']>[number] {
  const common = { Driver: '', Capabilities: [['gpu']], Options: {} };
  return devices.includes('all') ? { ...common, Count: -1, DeviceIDs: [] } : { ...common, Count: 0, DeviceIDs: [...devices] };
}
