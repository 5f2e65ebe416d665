/** A service that only starts an engine, to be killed by a test: prints the engine's identity and address, and waits. */
import { openSync } from 'node:fs';
import { startEngine } from '../../src/domains/deployments/runtimes/llama-cpp/engine-process.ts';

// Before anybody can know the process: a signal that comes without a listener ends it on the spot.
process.on('SIGUSR2', () => process.exit(1));

const [modelPath = '', logFile = '', orphanGraceMs = '0'] = process.argv.slice(2);
const engine = { modelPath, modelName: 'tiny', port: 0, contextSize: null, parallel: 1, threads: 1, gpuLayers: 0, queueMax: 1, drainMs: 1_000, orphanGraceMs: Number(orphanGraceMs) };
const { pid, startTime, port, secret, contextSize } = await startEngine({ engine, logFd: openSync(logFile, 'a') }, new AbortController().signal);
process.stdout.write(`${JSON.stringify({ pid, startTime, port, secret, contextSize })}\n`);
setInterval(() => undefined, 60_000);
