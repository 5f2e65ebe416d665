import type { Chat } from '../../domains/chat/types.ts';
import type { AuditLog } from '../../shared/audit-log.ts';
import type { Graphql } from '../graphql/create-graphql.ts';
import { createExecutor } from '../graphql/executor.ts';
import type { ExchangeHandler } from '../http/exchange.ts';
import type { OnRevoked } from '../http/key-watch.ts';
import type { HttpMount } from '../server.ts';
import { docsAssetsPrefix, serveDocsAsset } from './docs-page.ts';
import { createRestHandler } from './handler.ts';
import { buildOpenApi } from './openapi.ts';
import { openApiRoute, restRoutes } from './routes/table.ts';
import { apiVersions, currentVersion, type ApiVersions } from './versions.ts';

export type RestOptions = {
  /** Runs the operation documents. */
  graphql: Pick<Graphql, 'execute' | 'subscribe'>;
  /** For files, which are sent piece by piece. */
  chat: Pick<Chat, 'export'>;
  audit: AuditLog;
  /** Tells a stream that its key stopped being good. */
  onRevoked: OnRevoked;
  /** Of the service, for the OpenAPI document. */
  version: string;
  versions?: ApiVersions;
  /** A reader of a stream that takes nothing for so long is cut. */
  stalledMsMax?: number;
};

export type Rest = { handler: ExchangeHandler; http: readonly HttpMount[] };

/** The documented routes below `/api`, and the files of their documentation page. */
export function createRest({ graphql, chat, audit, onRevoked, version, versions = apiVersions, stalledMsMax }: RestOptions): Rest {
  let document: Record<string, unknown> | undefined;
  const openApi = openApiRoute(() => (document ??= describeRest(version)));
  const handler = createRestHandler({ chat, audit, routes: [...restRoutes, openApi], versions, executor: createExecutor(graphql), onRevoked, stalledMsMax });
  return {
    handler,
    http: [
      { prefix: '/api', handle: handler, headers: { 'api-version': currentVersion } },
      { prefix: docsAssetsPrefix, handle: serveDocsAsset },
    ],
  };
}

/** The OpenAPI document of every documented route. */
export function describeRest(version: string): Record<string, unknown> {
  return buildOpenApi([...restRoutes, openApiRoute(() => ({}))], version);
}
