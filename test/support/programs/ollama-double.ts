/** Ollama in a container: `serve`, with its key and its store where it is told to have them, and the double of its API behind. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, request as forward } from 'node:http';
import { join } from 'node:path';
import { createOllamaDaemon } from '../ollama/daemon.ts';

if (process.argv[2] !== 'serve') process.exit(1);
const store = join(process.env['OLLAMA_MODELS'] ?? '', 'blobs');
mkdirSync(store, { recursive: true });
mkdirSync(join(process.env['HOME'] ?? '', '.ollama'), { recursive: true });
writeFileSync(join(process.env['HOME'] ?? '', '.ollama', 'id_ed25519'), 'a key');

const daemon = await createOllamaDaemon();
const { port } = new URL(daemon.endpoint);
const [host = '', outside = ''] = (process.env['OLLAMA_HOST'] ?? '').split(':');

createServer((asked, response) => {
  const upload = /^\/api\/blobs\/(sha256:[0-9a-f]{64})$/.exec(asked.url ?? '')?.[1];
  const passed = forward({ host: '127.0.0.1', port, path: asked.url, method: asked.method, headers: { ...asked.headers, host: `127.0.0.1:${port}` } }, (answer) => {
    // Stored where the real one stores it: this fails where the folder cannot be written to.
    if (upload !== undefined && answer.statusCode === 201) writeFileSync(join(store, upload.replace(':', '-')), daemon.state.blobs.get(upload)?.slice(0, 16) ?? '');
    response.writeHead(answer.statusCode ?? 500, answer.headers);
    answer.pipe(response);
  });
  asked.pipe(passed);
}).listen(Number(outside), host, () => process.stderr.write(`time=2026-11-26T00:00:00.000Z level=INFO source=routes.go:1850 msg="Listening on [::]:${outside} (version 0.12.6)"\n`));
process.on('SIGTERM', () => process.exit(0));
