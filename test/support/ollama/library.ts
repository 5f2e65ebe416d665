/** The pages of ollama.com that clients read, in the shape that they have to be read from: HTML for people. */
import { Faults } from '../hub/faults.ts';
import type { Exchange } from '../hub/http-double.ts';
import { startHttpDouble } from '../hub/http-double.ts';
import { RequestLog } from '../hub/log.ts';
import { send, sendJson } from '../hub/send.ts';
import type { LibraryModel, PageLook } from './library-pages.ts';
import { modelPage, searchPage, tagsPage } from './library-pages.ts';

export type OllamaLibraryOptions = { port?: number; models?: readonly LibraryModel[]; pageSize?: number; cloudModels?: readonly Record<string, unknown>[]; recommendations?: readonly Record<string, unknown>[] };

export type OllamaLibrary = {
  readonly endpoint: string;
  readonly faults: Faults;
  readonly requests: RequestLog;
  readonly models: LibraryModel[];
  /** How the site looks now; changes apply to the next page. */
  readonly look: PageLook;
  close(): Promise<void>;
};

const html = { 'content-type': 'text/html; charset=utf-8' };

type State = Pick<OllamaLibrary, 'models' | 'look'> & Required<Omit<OllamaLibraryOptions, 'port' | 'models'>>;

async function sendSearch({ models, look, pageSize }: State, exchange: Exchange): Promise<void> {
  const { query, req } = exchange;
  const text = (query.get('q') ?? '').toLowerCase();
  const capabilities = query.getAll('c');
  const found = models.filter(
    ({ name, description, capabilities: has = [] }) => `${name} ${description}`.toLowerCase().includes(text) && capabilities.every((wanted) => has.includes(wanted)),
  );
  if (query.get('o') === 'newest') found.sort((a, b) => (a.updatedAt < b.updatedAt ? 1 : -1));
  const page = Math.max(1, Number(query.get('page') ?? 1));
  const shown = found.slice((page - 1) * pageSize, page * pageSize);
  const next = new URLSearchParams(query);
  next.set('page', String(page + 1));
  const more = found.length > page * pageSize ? `/search?${next.toString()}` : null;
  await send(exchange, { headers: html, body: searchPage(shown, look, { more, fragment: req.headers['hx-request'] === 'true' }) });
}

async function route(state: State, exchange: Exchange): Promise<void> {
  const { path } = exchange;
  if (path === '/search' || path === '/library') return sendSearch(state, exchange);
  // Cloud models only, in the shape of the local route.
  if (path === '/api/tags') return sendJson(exchange, { models: state.cloudModels });
  if (path === '/api/experimental/model-recommendations') return sendJson(exchange, { recommendations: state.recommendations });
  const [, library, community, tags] = /^\/(?:library\/([^/]+)|([^/]+\/[^/]+?))(\/tags)?$/.exec(path) ?? [];
  const model = state.models.find(({ name }) => name === (library ?? community));
  if (!model) return send(exchange, { status: 404, headers: html, body: '<!doctype html><html><body><h1>404. That page doesn’t exist.</h1></body></html>' });
  await send(exchange, { headers: html, body: tags === undefined ? modelPage(model, state.look) : tagsPage(model, state.look) });
}

export async function createOllamaLibrary(options: OllamaLibraryOptions = {}): Promise<OllamaLibrary> {
  const faults = new Faults();
  const requests = new RequestLog();
  const state: State = {
    models: [...(options.models ?? [])],
    look: { markers: true, cards: true },
    pageSize: options.pageSize ?? 20,
    cloudModels: options.cloudModels ?? [],
    recommendations: options.recommendations ?? [],
  };
  const server = await startHttpDouble({ name: 'library', log: requests, faults, port: options.port ?? 0, handle: (exchange) => route(state, exchange) });
  return { endpoint: `http://127.0.0.1:${server.port}`, faults, requests, models: state.models, look: state.look, close: () => server.close() };
}
