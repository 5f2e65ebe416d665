/** The process: command line in, exit code out. */
import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';
import { StopSignals } from './infrastructure/lifecycle/signals.ts';

// Before anything else is loaded, which takes a while: a service that is told to end then ends like any other.
const signals = process.argv[2] === 'serve' ? new StopSignals() : null;
// Stripping types and compiling is a third of a start's work. Kept beside the code it was made from, whose trust it
// shares; where that folder cannot be written, Node goes on without.
enableCompileCache(process.env['NODE_COMPILE_CACHE'] ?? fileURLToPath(new URL('../node_modules/.cache/llm-manager', import.meta.url)));
const { runProgram } = await import('./cli/program.ts');

// Not process.exitCode alone: a handle that somebody forgot must not keep a stopped service alive.
process.exit(await runProgram(process.argv, signals));
