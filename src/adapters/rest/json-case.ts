/** Keys of maps whose names are the user's own and must not be rewritten. */
const freeFormKeys = new Set(['environment', 'details', 'jsonSchema', 'json_schema']);

export function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

export function camelCase(name: string): string {
  return name.replaceAll(/_([a-z0-9])/g, (_whole, letter: string) => letter.toUpperCase());
}

function mapKeys(value: unknown, rename: (name: string) => string): unknown {
  if (Array.isArray(value)) return value.map((item: unknown) => mapKeys(item, rename));
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name]) => name !== '__typename')
      .map(([name, item]: [string, unknown]) => [rename(name), freeFormKeys.has(name) ? item : mapKeys(item, rename)]),
  );
}

/** GraphQL's camelCase answer as REST's snake_case JSON. */
export function toSnakeCase(value: unknown): unknown {
  return mapKeys(value, snakeCase);
}

/** A REST body as GraphQL variables. */
export function toCamelCase(value: unknown): unknown {
  return mapKeys(value, camelCase);
}
