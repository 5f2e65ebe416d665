import { createHash } from 'node:crypto';
import { z } from 'zod';
import { AppError } from '../../../../shared/errors.ts';
import type { OutgoingHttp, OutgoingResponse } from '../../../../shared/outgoing-http.ts';
import type { FileLocation } from '../../source.ts';
import type { ModelRef } from '../../types.ts';
import { bodyJson, expiryOf, isPrivateHost, redirectTarget, sendWithinOrigin, unavailable } from '../source-requests.ts';
import { ollamaName, toOllamaError } from './library-client.ts';

const manifestType = 'application/vnd.docker.distribution.manifest.v2+json';
const manifestBytesMax = 4 * 1024 * 1024;
const probeBytesMax = 16 * 1024;
const hopsMax = 5;

const descriptor = z.object({
  mediaType: z.string().max(200),
  digest: z.string().regex(/^sha256:[0-9a-f]{64}$/),
  size: z.number().int().nonnegative(),
});
const manifestSchema = z.object({ config: descriptor, layers: z.array(descriptor).max(20_000) });

export type OllamaLayer = z.infer<typeof descriptor>;
export type OllamaManifest = z.infer<typeof manifestSchema> & { /** SHA-256 of the manifest as sent, bare hex. */ digest: string };

export type RegistryClientOptions = {
  http: OutgoingHttp;
  endpoint: string;
  nowMs: () => number;
  /** May blobs lie at private addresses; they may anyway when the endpoint itself is at one. */
  allowPrivate: boolean;
};

/** Manifests and blobs of public models; what asks for a signed token is told as not open to us. */
export class RegistryClient {
  readonly #options: RegistryClientOptions;

  constructor(options: RegistryClientOptions) {
    this.#options = options;
  }

  async manifest(ref: ModelRef, signal: AbortSignal): Promise<OllamaManifest> {
    const { http, endpoint } = this.#options;
    const url = `${endpoint}/v2/${repositoryOf(ref)}/manifests/${encodeURIComponent(ref.revision ?? 'latest')}`;
    const request = { method: 'GET', url, headers: { accept: manifestType }, maxBytes: manifestBytesMax, allowPrivate: true, sourceName: ollamaName } as const;
    const response = await sendWithinOrigin(http, request, signal);
    if (response.status !== 200) throw this.#refusal(response, ref, 'MODEL_NOT_FOUND');
    const parsed = manifestSchema.safeParse(bodyJson(response, ollamaName));
    if (!parsed.success) throw unavailable(ollamaName, 'sent a manifest that cannot be read', { cause: parsed.error });
    return { ...parsed.data, digest: createHash('sha256').update(response.body).digest('hex') };
  }

  /** `digest` is `sha256:<hex>`. The registry sends no bytes itself: it points to a signed address on another host. */
  async locate(ref: ModelRef, digest: string, signal: AbortSignal): Promise<FileLocation> {
    const { http, endpoint } = this.#options;
    const origin = new URL(endpoint).origin;
    const allowPrivate = this.#options.allowPrivate || isPrivateHost(new URL(endpoint).hostname);
    let url = new URL(`${endpoint}/v2/${repositoryOf(ref)}/blobs/${digest}`);
    for (let hop = 0; hop <= hopsMax; hop += 1) {
      if (url.origin !== origin) return locationAt(url, allowPrivate);
      const headers = { 'accept-encoding': 'identity', range: 'bytes=0-0' };
      // GET, because HEAD is answered by the registry itself and would not tell the address.
      const response = await http({ method: 'GET', url: url.href, headers, maxBytes: probeBytesMax, overflow: 'truncate', allowPrivate: true }, signal);
      const target = redirectTarget(response, url.href, ollamaName);
      if (!target) {
        if (response.status === 200 || response.status === 206) return locationAt(url, true);
        throw this.#refusal(response, ref, 'FILE_NOT_FOUND');
      }
      url = target;
    }
    throw unavailable(ollamaName, 'sent redirects without end');
  }

  #refusal(response: OutgoingResponse, ref: ModelRef, missing: 'MODEL_NOT_FOUND' | 'FILE_NOT_FOUND'): AppError {
    const name = `${ref.name}:${ref.revision ?? 'latest'}`;
    if (response.status === 404 || response.status === 400) {
      const message = missing === 'MODEL_NOT_FOUND' ? `${name} does not exist in the ${ollamaName} registry.` : `${name} has no such file.`;
      return new AppError(missing, message);
    }
    if (response.status === 401 || response.status === 403) {
      return new AppError('MODEL_GATED', `${name} is not public: it can only be pulled by an ${ollamaName} server that is signed in.`);
    }
    return toOllamaError(response, this.#options.nowMs());
  }
}

function repositoryOf({ name }: ModelRef): string {
  return name.includes('/') ? name : `library/${name}`;
}

function locationAt(url: URL, allowPrivate: boolean): FileLocation {
  return { url: url.href, headers: {}, etag: null, sizeBytes: null, revision: null, expiresAtMs: expiryOf(url), allowPrivate };
}
