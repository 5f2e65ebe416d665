/** Keys of maps whose names are the user's own and must not be rewritten. */
const freeFields = new Set(['environment', 'json_schema']);

export function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

export function camelCase(name: string): string {
  return name.replaceAll(/_([a-z0-9])/g, (_whole, letter: string) => letter.toUpperCase());
}

type CamelKey<Key extends string> = Key extends `${infer Head}_${infer Tail}` ? `${Head}${Capitalize<CamelKey<Tail>>}` : Key;
type FreeField = 'environment' | 'json_schema';
/** The type of a body after `toCamelCase`. */
export type CamelCased<T> = T extends readonly (infer Item)[]
  ? CamelCased<Item>[]
  : T extends object
    ? { [Key in keyof T as Key extends string ? CamelKey<Key> : never]: Key extends FreeField ? T[Key] : CamelCased<T[Key]> }
    : T;

function mapValue(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(mapValue);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]: [string, unknown]) => [camelCase(name), freeFields.has(name) ? item : mapValue(item)]));
}

/** A REST body's names as GraphQL's; the body has been parsed, so it is no deeper than its schema. */
export function toCamelCase<T extends object>(body: T): CamelCased<T> {
  // The loop follows the same rule as the type.
  return mapValue(body) as CamelCased<T>;
}
