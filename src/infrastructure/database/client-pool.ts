/** The parts of pg's Pool and Client that are used here; pg itself comes with MikroORM. */
export type ClientPool = { on(event: 'connect', listener: (client: PooledClient) => void): unknown };

export type PooledClient = {
  query: (query: unknown, values?: unknown, ...rest: unknown[]) => Promise<unknown>;
  once(event: 'end', listener: () => void): unknown;
  /** There while somebody holds the client; throws when it has been given back already. */
  release?: (destroy: boolean) => void;
};
