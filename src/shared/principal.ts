/** `ADMIN` everything; `OPERATOR` downloads, deployments, chat; `USER` read and own chat; `VIEWER` read. */
export const roles = ['ADMIN', 'OPERATOR', 'USER', 'VIEWER'] as const;
export type Role = (typeof roles)[number];

/** Who asks. Made by one function from any credential (`domains/access`), on every transport. */
export type Principal = {
  keyId: string;
  /** The key's own name, for people. */
  keyName?: string;
  /** Name of the person or program that the key belongs to; chat sessions belong to it. */
  owner: string;
  role: Role;
  /** When the key stops being good; missing when it never does. */
  expiresAt?: Date;
};

/** Roles in order of power; a role may do what the ones after it may. */
export function hasRole(principal: Principal, needed: Role): boolean {
  return roles.indexOf(principal.role) <= roles.indexOf(needed);
}
