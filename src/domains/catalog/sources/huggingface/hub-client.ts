import type { OutgoingHttp, OutgoingRequest, OutgoingResponse } from '../../../../shared/outgoing-http.ts';
import { bodyJson, bodyText, encodePath, sendWithinOrigin, unavailable } from '../source-requests.ts';
import { hubName, toHubError } from './hub-errors.ts';
import type { HubSubject } from './hub-errors.ts';
import { hubModelSchema, hubTreeEntrySchema } from './hub-schemas.ts';
import type { HubModel, HubTreeEntry } from './hub-schemas.ts';

/** A page of 100 rows with all their file names stays below this. */
const listBytesMax = 16 * 1024 * 1024;
const infoBytesMax = 16 * 1024 * 1024;
/** Larger listings are cut off by an error: no model has so many files. */
const treeEntriesMax = 50_000;
const nextCursorLengthMax = 1500;

export type HubClientOptions = {
  http: OutgoingHttp;
  /** Without trailing slash. */
  endpoint: string;
  token: string | null;
  nowMs: () => number;
};

export type HubPage<T> = { rows: T[]; /** The `cursor` parameter of the page after this one. */ next: string | null };

/**
 * The Hub's cursor out of its `Link` header. Only the parameter is taken and sent to the configured endpoint again:
 * an address in an answer never decides where a request goes.
 */
export function nextCursorOf(link: string | undefined): string | null {
  const next = (link ?? '').split(/,\s*(?=<)/).find((part) => /;\s*rel="?next"?/i.test(part));
  const address = /^\s*<([^>]*)>/.exec(next ?? '')?.[1];
  if (address === undefined) return null;
  const cursor = URL.parse(address, 'http://relative.invalid')?.searchParams.get('cursor') ?? '';
  if (cursor === '' || cursor.length > nextCursorLengthMax) throw unavailable(hubName, 'sent a link to the next page that cannot be used', { internal: address.slice(0, 200) });
  return cursor;
}

/** The Hub's JSON routes that the catalogue needs; addresses as its own clients build them, ids raw in the path. */
export class HubClient {
  readonly #options: HubClientOptions;

  constructor(options: HubClientOptions) {
    this.#options = options;
  }

  get endpoint(): string {
    return this.#options.endpoint;
  }

  /** Credentials for the endpoint, and for no other host. */
  authorization(): Record<string, string> {
    return this.#options.token === null ? {} : { authorization: `Bearer ${this.#options.token}` };
  }

  subject(model: string | null, about: Pick<HubSubject, 'revision' | 'path'> = {}): HubSubject {
    const { endpoint, token, nowMs } = this.#options;
    return { model, page: model === null ? endpoint : `${endpoint}/${model}`, hasToken: token !== null, nowMs: nowMs(), ...about };
  }

  async listModels(query: URLSearchParams, signal: AbortSignal): Promise<HubPage<HubModel>> {
    const response = await this.#get(`/api/models?${query.toString()}`, { subject: this.subject(null), maxBytes: listBytesMax }, signal);
    const rows = this.#array(response).flatMap((row) => {
      const parsed = hubModelSchema.safeParse(row);
      return parsed.success ? [parsed.data] : [];
    });
    return { rows, next: nextCursorOf(response.headers['link']) };
  }

  async model(name: string, revision: string, signal: AbortSignal): Promise<HubModel> {
    // `expand` and `securityStatus` exclude each other; the plain answer has everything else that is shown.
    const path = `/api/models/${name}/revision/${encodeURIComponent(revision)}?securityStatus=true`;
    const response = await this.#get(path, { subject: this.subject(name, { revision }), maxBytes: infoBytesMax }, signal);
    const parsed = hubModelSchema.safeParse(bodyJson(response, hubName));
    if (!parsed.success) throw unavailable(hubName, 'sent an answer that cannot be read', { cause: parsed.error });
    return parsed.data;
  }

  /** All files at a commit; entries of another shape are left out, more than 50,000 are refused. */
  async tree(name: string, commit: string, signal: AbortSignal): Promise<HubTreeEntry[]> {
    const entries: HubTreeEntry[] = [];
    const seen = new Set<string>();
    let cursor: string | null = null;
    do {
      const query = new URLSearchParams({ recursive: 'true', expand: 'false', ...(cursor === null ? {} : { cursor }) });
      const path = `/api/models/${name}/tree/${commit}?${query.toString()}`;
      const response = await this.#get(path, { subject: this.subject(name, { revision: commit }), maxBytes: listBytesMax }, signal);
      for (const row of this.#array(response)) {
        const parsed = hubTreeEntrySchema.safeParse(row);
        if (parsed.success) entries.push(parsed.data);
      }
      cursor = nextCursorOf(response.headers['link']);
      // A cursor that comes back would make the listing endless.
      if (entries.length > treeEntriesMax || (cursor !== null && seen.has(cursor))) throw unavailable(hubName, 'lists more files than are read');
      if (cursor !== null) seen.add(cursor);
    } while (cursor !== null);
    return entries;
  }

  /** A small text file as git holds it, cut at `maxBytes`. Throws FILE_NOT_FOUND. */
  async text(file: { name: string; commit: string; path: string; maxBytes: number }, signal: AbortSignal): Promise<string> {
    const { name, commit, path, maxBytes } = file;
    const subject = this.subject(name, { revision: commit, path });
    const response = await this.#get(`/${name}/raw/${commit}/${encodePath(path)}`, { subject, maxBytes, overflow: 'truncate' }, signal);
    return bodyText(response);
  }

  async #get(path: string, options: { subject: HubSubject } & Pick<OutgoingRequest, 'maxBytes' | 'overflow'>, signal: AbortSignal): Promise<OutgoingResponse> {
    const { subject, ...limits } = options;
    const request = { method: 'GET', url: `${this.#options.endpoint}${path}`, headers: this.authorization(), allowPrivate: true, ...limits } as const;
    const response = await sendWithinOrigin(this.#options.http, { ...request, sourceName: hubName }, signal);
    if (response.status !== 200) throw toHubError(response, subject);
    return response;
  }

  #array(response: OutgoingResponse): unknown[] {
    const body = bodyJson(response, hubName);
    if (!Array.isArray(body)) throw unavailable(hubName, 'sent an answer that cannot be read');
    return body;
  }
}
