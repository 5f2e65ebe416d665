export type WithoutNulls<T> = { [Key in keyof T]?: NonNullable<T[Key]> };

/** GraphQL says null or nothing for what is not given; the use cases take only nothing. */
export function withoutNulls<T extends object>(input: T): WithoutNulls<T> {
  // Filtering entries loses the relation of key to value that the return type states.
  return Object.fromEntries(Object.entries(input).filter(([, value]) => value !== null && value !== undefined)) as WithoutNulls<T>;
}
