import type { Tx } from '#platform';

export interface Paging {
  readonly limit: number;
  readonly after?: string;
}
export interface Page<T> {
  readonly items: readonly T[];
  readonly nextCursor: string | null;
}

/** Newest first; ids are made in the order of time. */
export async function page<R, V>(
  tx: Tx,
  sql: { from: string; id: string; where: readonly [string, unknown][]; select?: string },
  paging: Paging,
  view: (row: R) => V,
  idOf: (row: R) => string,
): Promise<Page<V>> {
  const wheres = [
    ...sql.where.filter(([, value]) => value !== undefined),
    ...(paging.after ? [[`${sql.id} < `, paging.after] as [string, unknown]] : []),
  ];
  const limit = Math.min(Math.max(1, Math.trunc(paging.limit)), 500);
  const rows = await tx.query<R>(
    `select ${sql.select ?? '*'} from ${sql.from}${wheres.length > 0 ? ` where ${wheres.map(([w], i) => `${w}$${i + 1}`).join(' and ')}` : ''} order by ${sql.id} desc limit ${limit + 1}`,
    wheres.map(([, value]) => value),
  );
  const items = rows.slice(0, limit);
  return { items: items.map(view), nextCursor: rows.length > limit ? idOf(items.at(-1)!) : null };
}
