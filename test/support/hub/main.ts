/**
 * The Hub double as a program: `node test/support/hub/main.ts [--port 0] [--cdn-port 0] [--rate bytes/s] [--no-xet] --repo owner/name=folder ...`.
 * Prints `{"endpoint","cdnUrl","repos":{id: commit}}` as one line and serves until it is told to end.
 */
import { parseArgs } from 'node:util';
import { readFolder } from './folder.ts';
import { createHub } from './hub.ts';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    'cdn-port': { type: 'string', default: '0' },
    rate: { type: 'string' },
    'no-xet': { type: 'boolean', default: false },
    repo: { type: 'string', multiple: true, default: [] },
  },
});

const hub = await createHub({
  port: Number(values.port),
  cdnPort: Number(values['cdn-port']),
  xet: !values['no-xet'],
  ...(values.rate === undefined ? {} : { cdnBytesPerSecond: Number(values.rate) }),
});
const commits: Record<string, string> = {};
for (const given of values.repo) {
  const [id = '', folder = ''] = given.split(/=(.*)/s);
  commits[id] = hub.addRepo({ id, files: readFolder(folder), pipelineTag: 'text-generation' }).sha;
}
process.stdout.write(`${JSON.stringify({ endpoint: hub.endpoint, cdnUrl: hub.cdnUrl, repos: commits })}\n`);
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void hub.close().then(() => process.exit(0)));
