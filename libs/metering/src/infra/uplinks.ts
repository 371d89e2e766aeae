import type { Tx } from '#platform';
import { hourOf, instantText, US_PER_HOUR } from '../domain/units.js';

interface Report {
  poster: string;
  event: { source: string; at: bigint };
}

const MOST_KNOWN = 50_000;

/** The hour of its source, as text. Neighbours often share it. */
let last = { source: '', hour: 0n, until: 0n, key: '' };
function keyOf({ event: { source, at } }: Report): string {
  if (source !== last.source || at < last.hour || at >= last.until) {
    const hour = hourOf(at);
    last = { source, hour, until: hour + US_PER_HOUR, key: `${source}\u0000${hour}` };
  }
  return last.key;
}

/**
 * Who reports which hour of a physical source. Counters of two posters would be read as one that jumps, so an hour counts from
 * one of them only: the first (money page, "Two reporters").
 */
export class Uplinks {
  /** Committed, and never changed by anybody. */
  private readonly known = new Map<string, string>();

  /** Who is known to hold the hours of these reports, and a report of each hour of which that is not known yet. */
  look(reports: readonly Report[]): { holders: Map<string, string>; open: Map<string, Report> } {
    const holders = new Map<string, string>();
    const open = new Map<string, Report>();
    for (const r of reports) {
      const key = keyOf(r);
      if (holders.has(key) || open.has(key)) continue;
      const holder = this.known.get(key);
      if (holder !== undefined) holders.set(key, holder);
      else open.set(key, r);
    }
    return { holders, open };
  }

  /**
   * Claims these hours for their posters where nobody holds them, and notes who holds each. In the transaction that stores the
   * reports, before their ids are taken (one order of locks); `remember` them once that has committed.
   */
  static async claim(tx: Pick<Tx, 'query'>, { holders, open }: ReturnType<Uplinks['look']>): Promise<void> {
    if (open.size === 0) return;
    const rows = [...open].sort(([a], [b]) => (a < b ? -1 : 1));
    const sources = rows.map(([, r]) => r.event.source);
    const hours = rows.map(([, r]) => instantText(hourOf(r.event.at)));
    await tx.query(
      `insert into usage_uplinks (source, hour, principal) select * from unnest($1::text[], $2::timestamptz[], $3::text[]) on conflict do nothing`,
      [sources, hours, rows.map(([, r]) => r.poster)],
    );
    // By a statement of its own: whoever was before us has committed only while we waited.
    const held = await tx.query<{ n: number; principal: string }>(
      `select u.n::int, l.principal from unnest($1::text[], $2::timestamptz[]) with ordinality as u(s, h, n) join usage_uplinks l on l.source = u.s and l.hour = u.h`,
      [sources, hours],
    );
    for (const { n, principal } of held) holders.set(rows[n - 1]![0], principal);
  }

  remember(holders: ReadonlyMap<string, string>): void {
    if (this.known.size > MOST_KNOWN) this.known.clear();
    for (const [key, holder] of holders) this.known.set(key, holder);
  }

  static holds(holders: ReadonlyMap<string, string>, report: Report): boolean {
    return holders.get(keyOf(report)) === report.poster;
  }
}
