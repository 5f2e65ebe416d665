import type { AuditTrail } from '../../domains/access/audit/types.ts';
import type { Access } from '../../domains/access/types.ts';
import type { Catalog } from '../../domains/catalog/catalog.ts';
import type { Chat } from '../../domains/chat/types.ts';
import type { Deployments } from '../../domains/deployments/types.ts';
import type { Downloads, InstalledModels, StorageJobs } from '../../domains/downloads/types.ts';
import type { Alerts } from '../../domains/system/alerts/types.ts';
import type { System } from '../../domains/system/types.ts';
import type { AuditLog, RequestOrigin } from '../../shared/audit-log.ts';
import { AppError } from '../../shared/errors.ts';
import type { Principal } from '../../shared/principal.ts';

/** Facts about this service that an authenticated caller may see. */
export type ServerInfoView = {
  name: string;
  version: string;
  startedAt: Date;
  /** Which engine holds the rows, e.g. `PostgreSQL 18 (embedded)`. */
  database: string;
  /** Where events travel: `in process` or `Redis`. */
  events: string;
  /** Operating system and processor, e.g. `linux-x64`. */
  platform: string;
  nodeVersion: string;
};

/** The use cases that resolvers call; each resolver is one call of one of them. */
export type GraphqlServices = {
  catalog: Catalog;
  downloads: Downloads;
  installed: InstalledModels;
  storageJobs: StorageJobs;
  deployments: Deployments;
  chat: Chat;
  system: System;
  alerts: Alerts;
  access: Access;
  auditLog: AuditLog;
  auditTrail: AuditTrail;
  serverInfo: () => ServerInfoView;
};

/** What every resolver gets. One per operation, so that what is loaded for one caller never reaches another. */
export type GraphqlContext = {
  /** Null when nobody has shown a good key; every field then answers UNAUTHENTICATED. */
  principal: Principal | null;
  origin: RequestOrigin;
  /** Aborts when the caller goes away or the operation is stopped. */
  signal: AbortSignal;
  services: GraphqlServices;
};

/** The caller of a field that authorisation has let through. */
export function principalOf({ principal }: GraphqlContext): Principal {
  if (!principal) throw new AppError('UNAUTHENTICATED', 'A good API key is needed.');
  return principal;
}
