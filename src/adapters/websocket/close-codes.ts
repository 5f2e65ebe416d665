/** Close codes of `/ws/*`; the 44xx ones mean what they mean in graphql-transport-ws. */
export const closeCodes = {
  done: 1000,
  goingAway: 1001,
  policy: 1008,
  internal: 1011,
  /** The client does not read: come back and resume from the last position it has. */
  tooSlow: 1013,
  badRequest: 4400,
  unauthenticated: 4401,
  forbidden: 4403,
  notFound: 4404,
  authTimeout: 4408,
} as const;
