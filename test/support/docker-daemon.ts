import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, closeSync, copyFileSync, cpSync, mkdirSync, mkdtempSync, openSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import Docker from 'dockerode';
import { eventually } from './eventually.ts';

/** A real Docker Engine of a test's own, with one image in it: a model server that speaks llama-server's protocol. */
export type DockerDaemon = {
  socket: string;
  client: Docker;
  /** Name of the image; its kind is told by it. */
  image: string;
  /** Adds an image with another model server, and answers its name. */
  addImage(server: 'tgi' | 'ollama'): Promise<string>;
  /** Without live-restore its containers end with it. SIGKILL: it has no time to end them. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  start(): Promise<void>;
  close(): Promise<void>;
};

/** Null where tests can start one; else what is missing. */
export function dockerdMissing(): string | null {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'dockerd needs Linux and root';
  try {
    execFileSync('dockerd', ['--version'], { stdio: 'ignore' });
    execFileSync('ip', ['-V'], { stdio: 'ignore' });
    return null;
  } catch {
    return 'dockerd (Debian: docker.io) or ip (iproute2) is not installed';
  }
}

export async function startDockerDaemon(options: { liveRestore?: boolean } = {}): Promise<DockerDaemon> {
  const folder = mkdtempSync(join(tmpdir(), 'llmm-docker-'));
  const socket = join(folder, 'docker.sock');
  const client = new Docker({ socketPath: socket });
  const bridge = createBridge();
  let daemon: ChildProcess | null = null;
  const start = async (): Promise<void> => {
    if (daemon?.exitCode === null && daemon.signalCode === null) return;
    const log = openSync(join(folder, 'dockerd.log'), 'a');
    daemon = spawn(
      'dockerd',
      ['--host', `unix://${socket}`, '--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec'), '--pidfile', join(folder, 'docker.pid'),
        '--iptables=false', '--ip6tables=false', `--bridge=${bridge}`, ...(options.liveRestore ? ['--live-restore'] : [])],
      { stdio: ['ignore', log, log], detached: true },
    );
    closeSync(log);
    await eventually('dockerd answers', () => client.ping().then(() => true, () => false), 60_000);
  };
  const stop = async (signal: NodeJS.Signals = 'SIGTERM'): Promise<void> => {
    if (!daemon || daemon.exitCode !== null || daemon.signalCode !== null) return;
    const ended = once(daemon, 'exit');
    daemon.kill(signal);
    await ended;
  };
  await start();
  const image = await importServer(client, folder, servers['llama.cpp']);
  const close = async (): Promise<void> => {
    // What cannot be removed for a mount that an ended daemon has left goes with the folder.
    for (const { Id } of await client.listContainers({ all: true })) await client.getContainer(Id).remove({ force: true }).catch(() => undefined);
    await stop();
    execFileSync('ip', ['link', 'delete', bridge]);
    unmountBelow(folder);
    await rm(folder, { recursive: true, force: true, maxRetries: 10 });
  };
  return { socket, client, image, addImage: (server) => importServer(client, folder, servers[server]), stop, start, close };
}

/** With live-restore a daemon leaves its data folder mounted on itself; one that ends in haste, the root of a container. */
function unmountBelow(folder: string): void {
  const places = readFileSync('/proc/mounts', 'utf8').split('\n').map((line) => line.split(' ')[1] ?? '');
  for (const place of places.filter((name) => name.startsWith(`${folder}/`)).reverse()) execFileSync('umount', ['--lazy', place], { stdio: 'ignore' });
}

/** Its own, so that several daemons get along with each other and with the machine's. */
function createBridge(): string {
  const number = process.pid % 250;
  for (let second = 0; ; second += 1) {
    const name = `llmm${number}x${second}`;
    try {
      execFileSync('ip', ['link', 'add', name, 'type', 'bridge'], { stdio: 'ignore' });
      execFileSync('ip', ['addr', 'add', `10.${200 + (second % 50)}.${number}.1/24`, 'dev', name]);
      execFileSync('ip', ['link', 'set', name, 'up']);
      return name;
    } catch (error) {
      if (second > 20) throw error;
    }
  }
}

type Server = { repository: string; tag: string; program: string; /** Of the program, beside it. */ folders: readonly string[] };

const servers: Readonly<Record<'llama.cpp' | 'tgi' | 'ollama', Server>> = {
  'llama.cpp': { repository: 'llmm-test/llama.cpp', tag: 'server', program: 'llama-server-double.ts', folders: [] },
  tgi: { repository: 'llmm-test/text-generation-inference', tag: '3', program: 'tgi-double.ts', folders: [] },
  ollama: { repository: 'llmm-test/ollama', tag: '1', program: 'ollama-double.ts', folders: ['ollama', 'hub'] },
};

/** Node and its libraries with the double: no registry is needed, and nothing else is in the image. */
async function importServer(client: Docker, folder: string, { repository, tag, program, folders }: Server): Promise<string> {
  const root = join(folder, 'root');
  const add = (from: string, to: string): void => {
    mkdirSync(dirname(join(root, to)), { recursive: true });
    copyFileSync(from, join(root, to));
  };
  const libraries = execFileSync('ldd', [process.execPath], { encoding: 'utf8' }).matchAll(/(\/\S+) \(0x/g);
  for (const [, library = ''] of libraries) add(library, library);
  add(process.execPath, '/bin/node');
  const support = join(process.cwd(), 'test/support');
  add(join(support, 'programs', program), '/app/programs/server.ts');
  for (const name of folders) cpSync(join(support, name), join(root, 'app', name), { recursive: true });
  for (const name of ['tmp', 'var/tmp']) {
    mkdirSync(join(root, name), { recursive: true });
    chmodSync(join(root, name), 0o1777);
  }
  const archive = join(folder, 'root.tar');
  execFileSync('tar', ['-C', root, '-cf', archive, '.']);
  await rm(root, { recursive: true });
  const stream = await client.importImage(archive, { repo: repository, tag, changes: ['ENTRYPOINT ["/bin/node","--disable-warning=ExperimentalWarning","/app/programs/server.ts"]'] });
  for await (const _step of stream) continue;
  await rm(archive);
  return `${repository}:${tag}`;
}
