import type { KeyLimits, Principal, Role, Scope } from '../../shared/principal.ts';

export type ApiKeyView = {
  id: string;
  name: string;
  owner: string;
  role: Role;
  /** First characters of the key, to tell keys apart. */
  prefix: string;
  /** Empty = all that the role has. */
  scopes: readonly Scope[];
  limits: KeyLimits;
  /** Ids; null = all. */
  allowedDeployments: readonly string[] | null;
  expiresAt: Date | null;
  revokedAt: Date | null;
  lastUsedAt: Date | null;
  createdAt: Date;
};

/** What narrows a key; what is left out does not. */
export type NarrowKey = {
  scopes?: readonly string[];
  /** What is left out of it, or null, has no limit. */
  limits?: { requestsPerMinute?: number | null | undefined; tokensPerDay?: number | null | undefined };
  /** Names or ids; ids are kept, so that a key follows a deployment whose name changes, and no other of the same name. */
  allowedDeployments?: readonly string[];
};

export type CreateApiKey = { name: string; owner: string; role: Role; expiresAt?: Date } & NarrowKey;
/** `secret` is shown this once. */
export type CreatedApiKey = { key: ApiKeyView; secret: string };

/** Use cases of access; `AccessService` implements it. */
export type Access = {
  /**
   * The one function from any credential to a principal, for every transport. Null for anything that is not a
   * good key; takes the same time for an unknown one as for a wrong one, and never reaches the database for
   * text that has not a key's shape.
   */
  authenticate(credential: string): Promise<Principal | null>;
  /** Looks again: null when the key has been revoked or has expired since. */
  recheck(principal: Principal): Promise<Principal | null>;
  createKey(input: CreateApiKey, principal: Principal): Promise<CreatedApiKey>;
  revokeKey(id: string, principal: Principal): Promise<ApiKeyView>;
  /** A new secret under the same id; the old one stops working at once. What `change` names is narrowed anew, the rest stays. */
  rotateKey(id: string, principal: Principal, change?: NarrowKey): Promise<CreatedApiKey>;
  listKeys(): Promise<readonly ApiKeyView[]>;
  /**
   * Makes sure that `secret` (or a new one when null) is an ADMIN key; for the first start and for
   * LLM_MANAGER_ADMIN_KEY. Answers the secret.
   */
  ensureAdminKey(secret: string | null): Promise<string>;
};
