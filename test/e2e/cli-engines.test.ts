import { chmod, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { jsonLines, runCommand, startCommand, type CommandOptions } from '../support/command-line.ts';
import { createTemporaryFolder, type TemporaryFolder } from '../support/data-dir.ts';
import { eventually } from '../support/eventually.ts';
import { processesNaming } from '../support/processes.ts';
import { tinyStory } from '../support/tiny-gguf.ts';

/** A small real server in place of the one that takes minutes to compile: it says what it is told to. */
const server = (answer: string): string => `#!${process.execPath}
const port = process.argv[process.argv.indexOf('--port') + 1];
require('node:http').createServer((req, res) => {
  res.setHeader('content-type', 'application/json');
  res.end(JSON.stringify(req.method === 'GET' ? { status: 'ok' } : { choices: [{ message: { content: ${JSON.stringify(answer)} } }] }));
}).listen(Number(port), '127.0.0.1');
`;

const configures = 'if [ "$1" != --build ]; then echo configured; exit 0; fi\n';
const builds = (program: string): string => `${configures}echo "[ 50%] Building"; echo "[100%] Built"; mkdir -p build/bin; cp ${program} build/bin/llama-server\n`;

describe('engines build llama-server', () => {
  let folder: TemporaryFolder;
  let tools: string;
  let dataDir: string;
  let installed: string;
  let options: CommandOptions;

  beforeEach(async () => {
    folder = await createTemporaryFolder('cli-engines');
    tools = path.join(folder.path, 'tools');
    dataDir = path.join(folder.path, 'data');
    installed = path.join(dataDir, 'engines', 'llama-server', 'bin', 'llama-server');
    await mkdir(tools);
    // What every script here needs; and no cmake, git or compiler of the machine.
    for (const name of ['sh', 'cp', 'mkdir', 'sleep']) await symlink(path.join('/bin', name), path.join(tools, name));
    options = { dataDir, cwd: folder.path, env: { PATH: tools } };
    await tool('git', 'mkdir source\n');
    await tool('c++', '');
    await tool('make', '');
  });

  afterEach(() => folder.remove());

  async function tool(name: string, script: string): Promise<string> {
    const file = path.join(tools, name);
    await writeFile(file, script.startsWith('#!') ? script : `#!${path.join(tools, 'sh')}\n${script}`);
    await chmod(file, 0o755);
    return file;
  }

  async function installOld(): Promise<void> {
    await mkdir(path.dirname(installed), { recursive: true });
    await writeFile(installed, 'the old one');
  }

  async function expectUnchanged(): Promise<void> {
    expect(await readFile(installed, 'utf8')).toBe('the old one');
    expect(await readdir(path.join(dataDir, 'engines'))).toEqual(['llama-server']);
    expect(await processesNaming(folder.path)).toEqual([]);
  }

  const build = (...more: string[]): ReturnType<typeof runCommand> => runCommand(['engines', 'build', 'llama-server', ...more], options);

  it('puts a program that works where deployments look for it, and says how far it is', async () => {
    await tool('cmake', builds(await tool('good-server', server(tinyStory))));
    const { code, stdout } = await build('--json');
    expect(code).toBe(0);
    const events = jsonLines(stdout);
    expect(events.map(({ stage, type }) => stage ?? type).filter((stage, index, all) => stage !== all[index - 1])).toEqual(['unpack', 'configure', 'compile', 'test', 'install', 'done']);
    expect(events.filter(({ stage }) => stage === 'compile').map(({ progress }) => progress)).toEqual([0, 0.5, 1]);
    expect(events.at(-1)).toMatchObject({ path: installed });
    expect((await stat(installed)).mode & 0o111).not.toBe(0);
    expect(await readdir(path.join(dataDir, 'engines'))).toEqual(['llama-server']);
    expect(await readFile(path.join(dataDir, 'logs', 'engine-build.log'), 'utf8')).toContain('--target llama-server');

    // Again, over the one that is there.
    expect(await build()).toMatchObject({ code: 0, stdout: `${installed}\n` });
    expect(await processesNaming(folder.path)).toEqual([]);
  }, 60_000);

  it.each([
    ['the compiler fails', 'echo "server.cpp:7: error: boom" >&2; echo "make: *** [all] Error 2" >&2; exit 2', /START_FAILED: cmake ended with 2: .*Error 2/],
    ['no program comes out', 'exit 0', /START_FAILED: The build ended without a program/],
    ['the program does not start', 'mkdir -p build/bin; cp $0 build/bin/llama-server', /START_FAILED: What was built does not work: it did not load a model/],
  ])('changes nothing when %s', async (_what, script, message) => {
    await installOld();
    await tool('cmake', `${configures}${script}\n`);
    const { code, stdout, stderr } = await build();
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr.trimEnd().split('\n').at(-1)).toMatch(message);
    expect(stderr).toContain(path.join(dataDir, 'logs', 'engine-build.log'));
    await expectUnchanged();
  }, 60_000);

  it('changes nothing when the program says something else than it was asked for', async () => {
    await installOld();
    await tool('cmake', builds(await tool('bad-server', server('gibberish'))));
    const { code, stderr } = await build();
    expect(code).toBe(1);
    expect(stderr).toContain('asked for a sentence it said "gibberish"');
    await expectUnchanged();
  }, 60_000);

  it('ends with everything that it has started at Ctrl-C, and changes nothing', async () => {
    await installOld();
    await tool('cmake', `${configures}echo "[ 10%] Building"; ${tools}/sleep 1000 & ${tools}/sleep 1000\n`);
    const running = startCommand(['engines', 'build', 'llama-server', '--json'], options);
    await eventually('it compiles', () => running.stdout().includes('0.1'), 30_000);
    running.kill('SIGINT');
    expect((await running.finished).code).toBe(130);
    await eventually('what it had started has ended', async () => (await processesNaming(folder.path)).length === 0);
    await expectUnchanged();
  }, 60_000);

  it('names what is missing and how to get it, before it begins', async () => {
    const { code, stderr } = await build();
    expect(code).toBe(1);
    expect(stderr).toMatch(/^llm-manager: RUNTIME_UNAVAILABLE: To build it, cmake must be installed: .+\n$/);
    await tool('cmake', 'exit 0');
    await tool('nvidia-smi', '');
    expect((await build()).stderr).toContain('NVIDIA card, but not nvcc');
    expect((await build('--gpu', 'vulkan')).stderr).toContain('glslc');
    await expect(readdir(path.join(dataDir, 'engines'))).rejects.toThrow('ENOENT');
    expect(await runCommand(['engines', 'build', 'vllm'], options)).toMatchObject({ code: 2 });
  }, 60_000);
});
