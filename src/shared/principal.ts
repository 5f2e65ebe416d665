/** `ADMIN` everything; `OPERATOR` downloads, deployments, chat; `USER` read and own chat; `VIEWER` read. */
export const roles = ['ADMIN', 'OPERATOR', 'USER', 'VIEWER'] as const;
export type Role = (typeof roles)[number];

/** What a key can be narrowed to, whatever its role. The closed list; `...:write` holds the `...:read` of the same area. */
export const scopes = [
  'models:read',
  'storage:write',
  'downloads:read',
  'downloads:write',
  'deployments:read',
  'deployments:write',
  'chat',
  'system:read',
  'alerts:write',
  'keys',
  'audit:read',
] as const;
export type Scope = (typeof scopes)[number];

/** Scopes that hold another one as well: who may change a thing may look at it. */
const heldBy: Partial<Record<Scope, Scope>> = {
  'models:read': 'storage:write',
  'downloads:read': 'downloads:write',
  'deployments:read': 'deployments:write',
  'system:read': 'alerts:write',
};

/** How much a key may be used; null = without limit. */
export type KeyLimits = {
  requestsPerMinute: number | null;
  /** Of prompts and answers together, from midnight to midnight UTC. */
  tokensPerDay: number | null;
};

/** Who asks. Made by one function from any credential (`domains/access`), on every transport. */
export type Principal = {
  keyId: string;
  /** The key's own name, for people. */
  keyName?: string;
  /** Name of the person or program that the key belongs to; chat sessions belong to it. */
  owner: string;
  role: Role;
  /** What the key is narrowed to; missing when it has all that its role has. */
  scopes?: readonly Scope[];
  limits?: KeyLimits;
  /** Ids of the only deployments that it may see and use; missing when it may all. */
  allowedDeployments?: readonly string[];
  /** When the key stops being good; missing when it never does. */
  expiresAt?: Date;
};

/** Roles in order of power; a role may do what the ones after it may. */
export function hasRole(principal: Principal, needed: Role): boolean {
  return roles.indexOf(principal.role) <= roles.indexOf(needed);
}

/** A scope never gives what the role does not: ask for both. */
export function hasScope({ scopes: held }: Pick<Principal, 'scopes'>, needed: Scope): boolean {
  if (held === undefined || held.includes(needed)) return true;
  const wider = heldBy[needed];
  return wider !== undefined && held.includes(wider);
}

export function mayUseDeployment({ allowedDeployments }: Pick<Principal, 'allowedDeployments'>, id: string): boolean {
  return allowedDeployments === undefined || allowedDeployments.includes(id);
}
