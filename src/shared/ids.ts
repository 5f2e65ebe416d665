import { v7, validate } from 'uuid';

/** Time-ordered, so that the newest row has the greatest id and keyset paging needs no second column. */
export function newId(): string {
  return v7();
}

export function isId(value: string): boolean {
  return validate(value);
}
