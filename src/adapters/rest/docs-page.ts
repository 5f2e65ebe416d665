import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { AppError } from '../../shared/errors.ts';
import type { Exchange } from '../http/exchange.ts';

/** Outside `/api`, because a page's own files carry no key. They hold nothing but Swagger UI. */
export const docsAssetsPrefix = '/assets/docs';

const require = createRequire(import.meta.url);
const swaggerFolder = path.dirname(require.resolve('swagger-ui-dist/package.json'));
const swaggerFiles: Readonly<Record<string, string>> = {
  'swagger-ui-bundle.js': 'text/javascript; charset=utf-8',
  'swagger-ui.css': 'text/css; charset=utf-8',
  'favicon-32x32.png': 'image/png',
};

const contentSecurityPolicy =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>llm-manager REST</title>
<link rel="icon" href="${docsAssetsPrefix}/favicon-32x32.png">
<link rel="stylesheet" href="${docsAssetsPrefix}/swagger-ui.css">
<style>form{font:16px system-ui;max-width:40rem;margin:4rem auto;display:flex;gap:.5rem;flex-wrap:wrap}input{flex:1;padding:.5rem}button{padding:.5rem 1rem}output{flex-basis:100%;color:#b00}</style>
</head>
<body>
<form id="ask" hidden>
<label for="key">API key (the file admin.key in the data folder holds the first one)</label>
<input id="key" type="password" autocomplete="off" required>
<button>Open</button>
<output id="fault"></output>
</form>
<div id="ui"></div>
<script src="${docsAssetsPrefix}/swagger-ui-bundle.js"></script>
<script src="${docsAssetsPrefix}/page.js"></script>
</body>
</html>
`;

/** The key stays in the tab's session storage: gone with the tab, never in a URL. */
const pageScript = `'use strict';
const form = document.getElementById('ask');
const field = document.getElementById('key');
const fault = document.getElementById('fault');
async function open(key) {
  const answer = await fetch('/api/openapi.json', { headers: { authorization: 'Bearer ' + key } });
  if (!answer.ok) {
    form.hidden = false;
    fault.textContent = answer.status === 401 ? 'This key is not a good one.' : 'The service answered ' + answer.status + '.';
    return;
  }
  sessionStorage.setItem('llm-manager-key', key);
  form.hidden = true;
  const ui = SwaggerUIBundle({
    spec: await answer.json(),
    dom_id: '#ui',
    deepLinking: true,
    tryItOutEnabled: true,
    requestInterceptor: (request) => { request.headers.Authorization ??= 'Bearer ' + key; return request; },
  });
  ui.preauthorizeApiKey?.('key', key);
}
form.addEventListener('submit', (event) => { event.preventDefault(); void open(field.value.trim()); });
const known = sessionStorage.getItem('llm-manager-key');
if (known) void open(known); else form.hidden = false;
`;

/**
 * The documentation page. Without a key its status is 401 like every other path below `/api`, but the body is the
 * same page, which asks for the key: a browser cannot send one by itself.
 */
export function sendDocsPage({ res, principal }: Pick<Exchange, 'res' | 'principal'>): void {
  const body = Buffer.from(page, 'utf8');
  res.writeHead(principal ? 200 : 401, {
    'content-type': 'text/html; charset=utf-8',
    'content-length': body.byteLength,
    'content-security-policy': contentSecurityPolicy,
    'cache-control': 'no-store',
    ...(!principal && { 'www-authenticate': 'Bearer' }),
  });
  res.end(body);
}

/** Serves the page's script and Swagger UI's own files, and nothing else. */
export async function serveDocsAsset({ req, res, url }: Exchange): Promise<void> {
  if (req.method !== 'GET') throw new AppError('METHOD_NOT_ALLOWED', 'This path takes GET.', { details: { allowed: ['GET'] } });
  const name = url.pathname.slice(docsAssetsPrefix.length + 1);
  if (name === 'page.js') {
    res.writeHead(200, { 'content-type': 'text/javascript; charset=utf-8', 'cache-control': 'no-cache' }).end(pageScript);
    return;
  }
  const contentType = Object.hasOwn(swaggerFiles, name) ? swaggerFiles[name] : undefined;
  if (contentType === undefined) throw new AppError('ROUTE_NOT_FOUND', 'There is nothing at this path.');
  const file = path.join(swaggerFolder, name);
  const { size } = await stat(file);
  res.writeHead(200, { 'content-type': contentType, 'content-length': size, 'cache-control': 'public, max-age=86400' });
  await pipeline(createReadStream(file), res);
}
