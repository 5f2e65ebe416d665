/**
 * `start <owner pid>`, `stop <folder>` or `template <url>`. A program of its own because jest rewrites what its global
 * set-up imports into CommonJS, which the service's modules are not made for.
 */
import { makeTemplate, startTestCluster, stopTestCluster } from './test-cluster.ts';

const [command, argument = ''] = process.argv.slice(2);
if (command === 'start') process.stdout.write(JSON.stringify(await startTestCluster(Number(argument))));
else if (command === 'stop') await stopTestCluster(argument);
else if (command === 'template') await makeTemplate(argument);
else throw new Error(`unknown command ${command ?? ''}`);
