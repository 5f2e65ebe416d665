/** A service that only starts an engine, to be killed by a test: prints the engine's identity and waits. */
import { openSync } from 'node:fs';
import { startEngine } from '../../src/domains/deployments/runtimes/llama-cpp/engine-process.ts';

const [modelPath = '', logFile = ''] = process.argv.slice(2);
const engine = { modelPath, modelName: 'tiny', port: 0, contextSize: null, parallel: 1, threads: 1, gpuLayers: 0, queueMax: 1, drainMs: 1_000 };
const { pid, startTime } = await startEngine({ engine, logFd: openSync(logFile, 'a') }, new AbortController().signal);
process.stdout.write(`${JSON.stringify({ pid, startTime })}\n`);
setInterval(() => undefined, 60_000);
