import { availableParallelism } from 'node:os';
import { DeploymentRuntimesDocument } from '../../../schema/generated/graphql.ts';
import { toRestJson } from '../../shared/json-view.ts';
import { readConfig } from '../connect.ts';
import type { Handler } from '../context.ts';
import { buildLlamaServer, type BuildStage } from '../engine-build/build-llama-server.ts';
import { gpuKinds } from '../engine-build/tools.ts';
import { wrongUsage } from '../failure.ts';
import { enumFlag, numberFlag } from '../flags.ts';
import { columns, text } from '../format.ts';
import { ProgressBar } from '../progress-bar.ts';

/** What this machine can run models on, and how to get what is missing. */
export const engines: Handler = async ({ output, signal, connect }) => {
  const { deploymentRuntimes } = await (await connect()).execute(DeploymentRuntimesDocument, {}, signal);
  output.data({ items: deploymentRuntimes.map((runtime) => toRestJson(runtime)) });
  columns(output, ['RUNTIME', 'ENGINE', 'STATE', 'VERSION', 'DETAIL'], deploymentRuntimes.flatMap((runtime) => [
    ...(runtime.engines.length === 0 ? [[runtime.id, '-', runtime.available ? 'available' : 'missing', text(runtime.version), text(runtime.detail)]] : []),
    ...runtime.engines.map((engine) => [runtime.id, engine.name, engine.inUse ? 'in use' : engine.available ? 'available' : 'missing', text(engine.version), text(engine.detail)]),
  ]));
  for (const { engines: list } of deploymentRuntimes) for (const { name, available, remedy } of list) if (!available && remedy !== null) output.note(`${name}: ${remedy}`);
  return undefined;
};

const stages = {
  unpack: 'unpacking the source',
  configure: 'looking at the machine',
  compile: 'compiling, which takes some minutes',
  test: 'trying it with a small model',
  install: 'installing',
} as const satisfies Record<BuildStage, string>;

export const buildEngine: Handler = async (context, [engine = '']) => {
  const { output, signal, flags, env } = context;
  if (engine !== 'llama-server') throw wrongUsage(`There is nothing to build of the name ${engine}; there is llama-server.`);
  const jobs = numberFlag(flags, 'jobs') ?? availableParallelism();
  if (!Number.isInteger(jobs) || jobs < 1) throw wrongUsage('--jobs: must be a whole number of at least 1');
  const gpu = enumFlag(flags, 'gpu', gpuKinds) ?? 'AUTO';
  const bar = new ProgressBar(output);
  let said: { stage: BuildStage; progress: number | null } | null = null;
  try {
    const built = await buildLlamaServer({
      dataDir: readConfig(context).data.dir,
      env, gpu, jobs,
      onProgress: (stage, progress) => {
        if (said?.stage === stage && said.progress === progress) return;
        if (said?.stage !== stage) {
          bar.end();
          output.note(stages[stage]);
        }
        said = { stage, progress };
        output.data({ type: 'progress', stage, progress });
        if (progress !== null) bar.update(progress);
      },
    }, signal);
    bar.end();
    output.data({ type: 'done', path: built.path, log_file: built.logFile });
    output.note('Deployments use it from their next start on.');
    output.line(built.path);
  } finally {
    bar.end();
  }
  return undefined;
};
