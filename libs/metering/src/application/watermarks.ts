import type { Tx } from '#platform';
import type { WatermarkEvent } from '../domain/usage-event.js';
import { instantText } from '../domain/units.js';
import { countWatermarks } from '../domain/watermarks.js';

type Rows = Pick<Tx, 'query'>;

/**
 * Takes a source's watermarks, whose numbers are noted already; answers which of them are new. Each counts at once if no number
 * below it is missing, else when that comes. One with a lower number that reaches further than any before can only be of a
 * source that began to number anew (it lost its memory): its numbers begin there.
 */
export async function takeWatermarks(
  tx: Rows,
  source: string,
  marks: readonly { event: WatermarkEvent; poster: string }[],
  now: bigint,
): Promise<boolean[]> {
  const { poster } = marks.at(-1)!;
  await tx.query(
    'insert into usage_sources (source, watermark, last_sequence, received_at, principal) values ($1, null, 0, $2::timestamptz, $3) on conflict do nothing',
    [source, instantText(now), poster],
  );
  let held = await hold(tx, source);
  const fresh: boolean[] = [];
  for (const { event, poster: by } of marks.toSorted((a, b) => (a.event.sequence < b.event.sequence ? -1 : 1))) {
    const { sequence, through } = event;
    const i = marks.findIndex((m) => m.event === event);
    if (sequence > held.reached) {
      const rows = await tx.query(
        `insert into usage_watermarks (source, sequence, through, received_at, principal) values ($1, $2, $3::timestamptz, $4::timestamptz, $5)
         on conflict do nothing returning 1`,
        [source, sequence.toString(), instantText(through), instantText(now), by],
      );
      fresh[i] = rows.length > 0;
    } else if (held.watermark !== null && through <= held.watermark) fresh[i] = false;
    else {
      await tx.query('delete from usage_numbers where source = $1', [source]);
      await tx.query('delete from usage_watermarks where source = $1', [source]);
      await move(tx, source, { reached: sequence, through }, now, by);
      held = { reached: sequence, watermark: through };
      fresh[i] = true;
    }
  }
  // Once, when all of them stand there: a number that is reached before its own watermark is taken would look like an old one.
  await count(tx, source, held, now, poster);
  return fresh;
}

/** Counts what waits and need not any more: its gap was filled by samples alone, or is given up. Answers how many sources moved. */
export async function countWaiting(tx: Rows, now: bigint): Promise<number> {
  const sources = await tx.query<{ source: string }>('select distinct source from usage_watermarks order by source');
  let moved = 0;
  for (const { source } of sources) if (await count(tx, source, await hold(tx, source), now, null)) moved += 1;
  return moved;
}

/** A source that posts numbers and no watermark leaves a row for each commit: they become one run again. */
export async function foldNumbers(tx: Rows, most = 1_000): Promise<void> {
  const sources = await tx.query<{ source: string }>(
    'select source from usage_numbers group by source having count(*) > $1 order by source',
    [most],
  );
  for (const { source } of sources)
    await tx.query(
      `with gone as (delete from usage_numbers where source = $1 returning low, high)
       insert into usage_numbers (source, low, high)
       select $1, lower(r), upper(r) - 1 from (select unnest(range_agg(numrange(low, high + 1))) as r from gone) runs`,
      [source],
    );
}

interface Held {
  reached: bigint;
  watermark: bigint | null;
}

/** One at a time per source. */
async function hold(tx: Rows, source: string): Promise<Held> {
  const [row] = await tx.query<{ reached: string; us: string | null }>(
    `select last_sequence::text as reached, (extract(epoch from watermark) * 1000000)::bigint::text as us from usage_sources where source = $1 for update`,
    [source],
  );
  return { reached: BigInt(row?.reached ?? 0), watermark: row?.us == null ? null : BigInt(row.us) };
}

async function count(tx: Rows, source: string, held: Held, now: bigint, poster: string | null): Promise<boolean> {
  const waiting = await tx.query<{ sequence: string; us: string }>(
    'select sequence::text, (extract(epoch from through) * 1000000)::bigint::text as us from usage_watermarks where source = $1',
    [source],
  );
  const seen = await tx.query<{ low: string; high: string }>('select low::text, high::text from usage_numbers where source = $1', [source]);
  const next = countWatermarks(
    held.reached,
    seen.map((r) => ({ low: BigInt(r.low), high: BigInt(r.high) })),
    waiting.map((w) => ({ sequence: BigInt(w.sequence), through: BigInt(w.us) })),
    now,
  );
  if (next.reached === held.reached) return false;
  await move(tx, source, next, now, poster);
  await tx.query('delete from usage_watermarks where source = $1 and sequence <= $2', [source, next.reached.toString()]);
  await tx.query('delete from usage_numbers where source = $1 and high <= $2', [source, next.reached.toString()]);
  return next.through !== null;
}

async function move(
  tx: Rows,
  source: string,
  next: { reached: bigint; through: bigint | null },
  now: bigint,
  poster: string | null,
): Promise<void> {
  await tx.query(
    `update usage_sources set last_sequence = $2, watermark = greatest(watermark, $3::timestamptz), received_at = $4::timestamptz, principal = coalesce($5, principal)
      where source = $1`,
    [source, next.reached.toString(), next.through === null ? null : instantText(next.through), instantText(now), poster],
  );
}
