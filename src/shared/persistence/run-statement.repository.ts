import type { Kysely, SqlEntityManager } from '@mikro-orm/sql';

/** SQL with `?` for each of its values. */
export type Statement = { text: string; values: readonly unknown[] };

export type StatementResult = {
  /** By the names of their columns. */
  rows: Record<string, unknown>[];
  /** Changed by an insert, update or delete; of one that only reads 0. */
  changedCount: number;
};

/** The texts that `runStatement` is given are few, but some grow with a number of rows. */
const textsMax = 500;
const numberedTexts = new Map<string, string>();

/**
 * Runs a statement whose values travel beside its text, so that the server can keep what it has made of the text (see
 * `prepared-statements.ts`): `em.execute` writes them into it, and each is a new text to be parsed and planned. For
 * what an answer or a look-up of one row needs; a list is planned better with its values in sight. Within a
 * transaction of `em` it is part of it. Rejects as `em.execute` does.
 */
export async function runStatement(em: SqlEntityManager, { text, values }: Statement): Promise<StatementResult> {
  try {
    const { rows, numAffectedRows = 0 } = await em.getKysely().executeQuery<Record<string, unknown>>(toQuery(text, values));
    return { rows, changedCount: Number(numAffectedRows) };
  } catch (error) {
    throw em.getDriver().convertException(error as Error);
  }
}

type Query = Exclude<Parameters<Kysely<unknown>['executeQuery']>[0], { compile: unknown }>;

/** What kysely's `CompiledQuery.raw` makes, which MikroORM does not hand on. */
function toQuery(text: string, values: readonly unknown[]): Query {
  const query = { sql: numbered(text), parameters: values, query: { kind: 'RawNode', sqlFragments: [text], parameters: [] }, queryId: { queryId: '' } };
  return query as unknown as Query;
}

/** No text of ours has a question mark that is not the place of a value. */
function numbered(text: string): string {
  const known = numberedTexts.get(text);
  if (known !== undefined) return known;
  let count = 0;
  const made = text.replaceAll('?', () => `$${(count += 1)}`);
  if (numberedTexts.size < textsMax) numberedTexts.set(text, made);
  return made;
}
