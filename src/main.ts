/** The process: command line in, exit code out. */
import { StopSignals } from './infrastructure/lifecycle/signals.ts';

// Before anything else is loaded, which takes a while: a service that is told to end then ends like any other.
const signals = process.argv[2] === 'serve' ? new StopSignals() : null;
const { runProgram } = await import('./cli/program.ts');

// Not process.exitCode alone: a handle that somebody forgot must not keep a stopped service alive.
process.exit(await runProgram(process.argv, signals));
