/** `/api/pull`, `/api/create` and `/api/blobs`: how models get into an Ollama server. */
import { createHash } from 'node:crypto';
import { bufferContent, sha256Of } from '../hub/content.ts';
import type { Exchange } from '../hub/http-double.ts';
import { pause } from '../hub/http-double.ts';
import type { BodyWriter } from '../hub/send.ts';
import { createBodyWriter, readBody, send, sendJson } from '../hub/send.ts';
import type { Body, DaemonState, Pullable, PullableLayer } from './daemon-models.ts';
import { completeName, DaemonError, findModel, readJson, readName, toModel } from './daemon-models.ts';

/** Layers below this are through before the first frame would be due. */
const SILENT_LAYER_BYTES = 4096;
const GGUF_MAGIC = 'GGUF';

type Line = (value: Body) => Promise<boolean>;

function openLines(exchange: Exchange): { writer: BodyWriter; line: Line } {
  exchange.entry.status = 200;
  exchange.res.writeHead(200, { 'content-type': 'application/x-ndjson' });
  const writer = createBodyWriter(exchange);
  return { writer, line: (value) => writer.write(Buffer.from(`${JSON.stringify(value)}\n`)) };
}

/** True once the layer is complete. Where a pull left off, the next one goes on. */
async function pullLayer(state: DaemonState, exchange: Exchange, { digest, size }: PullableLayer, line: Line): Promise<boolean> {
  const status = `pulling ${digest.replace('sha256:', '').slice(0, 12)}`;
  if (state.installedLayers.has(digest)) return line({ status, digest, total: size, completed: size });
  let completed = state.pulled.get(digest) ?? 0;
  while (completed < size) {
    // A zero is left out, so a new layer's first frame has no `completed`; the last one stays below the total.
    if (size > SILENT_LAYER_BYTES && !(await line({ status, digest, total: size, ...(completed > 0 ? { completed } : {}) }))) return false;
    await pause(state.knobs.pullFrameMilliseconds, exchange.signal);
    if (exchange.signal.aborted) return false;
    completed = Math.min(size, completed + state.knobs.pullFrameBytes);
    state.pulled.set(digest, completed);
  }
  state.installedLayers.add(digest);
  return true;
}

async function pullAll(state: DaemonState, exchange: Exchange, { model, layers }: Pullable, line: Line): Promise<void> {
  for (const layer of layers) if (!(await pullLayer(state, exchange, layer, line))) return;
  await line({ status: 'verifying sha256 digest' });
  await line({ status: 'writing manifest' });
  const installed = toModel(model);
  const former = state.models.get(installed.name);
  if (former && former.digest !== installed.digest) await line({ status: 'removing unused layers' });
  state.models.set(installed.name, installed);
  await line({ status: 'success' });
}

export async function pull(state: DaemonState, exchange: Exchange): Promise<void> {
  const body = await readJson(exchange);
  const found = state.pullable.get(completeName(readName(body)));
  const missing = 'pull model manifest: file does not exist';
  if (body['stream'] === false) {
    if (!found) throw new DaemonError(500, missing);
    await pullAll(state, exchange, found, () => Promise.resolve(!exchange.signal.aborted));
    if (!exchange.signal.aborted) await sendJson(exchange, { status: 'success' });
    return;
  }
  const { writer, line } = openLines(exchange);
  await line({ status: 'pulling manifest' });
  if (found) await pullAll(state, exchange, found, line);
  else await line({ error: missing });
  if (!exchange.signal.aborted) writer.end();
}

export async function blob({ blobs }: DaemonState, exchange: Exchange, digest: string): Promise<void> {
  if (exchange.method === 'HEAD') return send(exchange, { status: blobs.has(digest) ? 200 : 404 });
  const content = bufferContent(await readBody(exchange));
  if (blobs.has(digest)) return send(exchange, { status: 200 });
  const got = `sha256:${sha256Of(content)}`;
  if (got !== digest) throw new DaemonError(400, `digest mismatch, expected "${digest}", got "${got}"`);
  blobs.set(digest, content);
  await send(exchange, { status: 201 });
}

async function createFromFile(state: DaemonState, name: string, body: Body, line: Line): Promise<void> {
  const [digest = ''] = Object.values(body['files'] as Record<string, string>);
  const content = state.blobs.get(digest);
  if (!content) {
    await line({ error: `open blobs/${digest.replace(':', '-')}: no such file or directory` });
    return;
  }
  await line({ status: 'parsing GGUF' });
  if (content.slice(0, 4).toString('latin1') !== GGUF_MAGIC) {
    await line({ error: 'supplied file was not in GGUF format' });
    return;
  }
  // The server rewrites the file, so its layer is another one than what was uploaded.
  const layer = createHash('sha256').update(`rewritten ${digest}`).digest('hex');
  const steps = ['verifying conversion', `creating new layer sha256:${layer}`, 'using autodetected template chatml', `creating new layer sha256:${sha256Of(bufferContent('chatml'))}`, 'writing manifest'];
  for (const status of steps) await line({ status });
  const model = toModel({ name, size: content.size, ...(typeof body['system'] === 'string' ? { system: body['system'] } : {}) });
  state.models.set(model.name, model);
  await line({ status: 'success' });
}

export async function create(state: DaemonState, exchange: Exchange): Promise<void> {
  const body = await readJson(exchange);
  const name = readName(body);
  const { from, files } = body;
  if (typeof from !== 'string' && (typeof files !== 'object' || files === null)) throw new DaemonError(400, 'neither \'from\' or \'files\' was specified');
  const base = typeof from === 'string' ? findModel(state, from) : null;
  const { writer, line } = openLines(exchange);
  if (base) {
    const model = toModel({ ...base, name });
    state.models.set(model.name, model);
    for (const status of [`using existing layer sha256:${base.digest}`, 'writing manifest', 'success']) await line({ status });
  } else await createFromFile(state, name, body, line);
  if (!exchange.signal.aborted) writer.end();
}
