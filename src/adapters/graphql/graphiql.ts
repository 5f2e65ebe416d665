import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { brotliCompress, constants, createGunzip, gzip } from 'node:zlib';
import { Kind, print, type DocumentNode } from 'graphql';
import type { Exchange } from '../http/exchange.ts';
import { pageBridge } from './graphiql-bridge.ts';

export type GraphiqlPage = { send(exchange: Exchange): Promise<void> };

/** Operations that belong together, and variables for them. */
export type GraphiqlTab = { documents: readonly DocumentNode[]; variables: Readonly<Record<string, unknown>> };

type Built = { brotli: Buffer; gzip: Buffer; etag: string; policy: string };

const compressBrotli = promisify(brotliCompress);
const compressGzip = promisify(gzip);
/** Higher takes seconds for few per cent of 9 MB of script. */
const brotliQuality = 5;
/** Shown in the headers editor of every tab, a new one's and a later visit's too: the page bridge replaces it. */
const placeForKey = JSON.stringify({ Authorization: 'Bearer <key>' }, null, 2);

/** The operations of a tab first, then each of their fragments once. */
function textOf({ documents, variables }: GraphiqlTab): { query: string; variables: string; headers: string } {
  const all = documents.flatMap((document) => document.definitions);
  const operations = all.filter((definition) => definition.kind === Kind.OPERATION_DEFINITION);
  const fragments = new Map(all.filter((definition) => definition.kind === Kind.FRAGMENT_DEFINITION).map((fragment) => [fragment.name.value, fragment]));
  return {
    query: print({ kind: Kind.DOCUMENT, definitions: [...operations, ...fragments.values()] }),
    variables: JSON.stringify(variables, null, 2),
    headers: placeForKey,
  };
}

function hashesOf(html: string): string {
  const scripts = [...html.matchAll(/<script>([\s\S]*?)<\/script>/g)].map((match) => match[1] ?? '');
  return scripts.map((script) => `'sha256-${createHash('sha256').update(script, 'utf8').digest('base64')}'`).join(' ');
}

/** Exactly what the page needs: its own scripts and workers, its inlined styles and fonts, and this service. */
function policyOf(html: string): string {
  return [
    "default-src 'none'",
    `script-src ${hashesOf(html)}`,
    'worker-src blob:',
    // The editor writes its styles as it goes.
    "style-src 'unsafe-inline'",
    'font-src data:',
    'img-src data: blob:',
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
}

function encodingOf(accepted: string): 'br' | 'gzip' | null {
  if (/\bbr\b/.test(accepted)) return 'br';
  return /\bgzip\b|\*/.test(accepted) ? 'gzip' : null;
}

async function build(tabs: readonly GraphiqlTab[]): Promise<Built> {
  // 9 MB of script: loaded only when somebody opens the page.
  const { renderGraphiQL } = await import('@graphql-yoga/render-graphiql');
  const html = renderGraphiQL({
    title: 'llm-manager',
    endpoint: '/graphql',
    subscriptionsProtocol: 'WS',
    defaultTabs: tabs.map(textOf),
    defaultHeaders: placeForKey,
    defaultEditorToolsVisibility: 'headers',
    shouldPersistHeaders: false,
  })
    .trim()
    .replace('<div id="root"></div>', () => `<div id="root"></div>\n<script>${pageBridge}</script>`);
  const [brotli, gzipped] = await Promise.all([
    compressBrotli(html, { params: { [constants.BROTLI_PARAM_QUALITY]: brotliQuality, [constants.BROTLI_PARAM_SIZE_HINT]: html.length } }),
    compressGzip(html),
  ]);
  return { brotli, gzip: gzipped, etag: `"${createHash('sha256').update(brotli).digest('base64url').slice(0, 27)}"`, policy: policyOf(html) };
}

/** GraphiQL in one file without anything from elsewhere; built at its first call and kept only compressed. */
export function createGraphiqlPage(tabs: readonly GraphiqlTab[]): GraphiqlPage {
  let built: Promise<Built> | null = null;
  return {
    async send({ req, res }) {
      built ??= build(tabs).catch((error: unknown) => {
        built = null;
        throw error;
      });
      const page = await built;
      const headers = { etag: page.etag, 'cache-control': 'no-cache', vary: 'Accept, Accept-Encoding', 'content-security-policy': page.policy, 'referrer-policy': 'no-referrer' };
      if (req.headers['if-none-match'] === page.etag) {
        res.writeHead(304, headers).end();
        return;
      }
      res.setHeaders(new Map(Object.entries({ ...headers, 'content-type': 'text/html; charset=utf-8' })));
      const encoding = encodingOf(req.headers['accept-encoding'] ?? '');
      if (encoding) res.setHeader('content-encoding', encoding);
      if (req.method === 'HEAD') res.end();
      else if (encoding) res.end(encoding === 'br' ? page.brotli : page.gzip);
      else await pipeline(Readable.from([page.gzip]), createGunzip(), res);
    },
  };
}
