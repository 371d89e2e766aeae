import { canonicalJson, sha256Hex, type Tx } from '#platform';
import { CARRY_LIMIT } from '../domain/measure-hour.js';
import { shardOf } from '../domain/merkle.js';
import { parseUsageEvent, refusedTime, type Rejection, type SampleEvent, type WatermarkEvent } from '../domain/usage-event.js';
import { hourOf, instantText, toUs } from '../domain/units.js';
import { shareShards } from '../infra/locks.js';
import type { UsageDays } from '../infra/usage-days.js';
import type { MeteringDeps } from './deps.js';
import type { Binding, IngestResult, UsagePrincipal } from './intake-types.js';
import { keepRejected, nameTooOld } from './refused-usage.js';

interface Candidate {
  index: number;
  event: SampleEvent;
  binding: Binding;
  hash: string;
}

/** Who posts, as the dedupe key sees it: a cell's new key is still the same cell. */
const posterOf = (p: UsagePrincipal): string =>
  p.kind === 'cell' ? `cell:${p.clusterId}` : p.kind === 'tenant' ? `tenant:${p.tenantId}` : `operator:${p.keyId}`;
const ownSource = (p: UsagePrincipal): string | null =>
  p.kind === 'cell' ? `/cells/${p.clusterId}` : p.kind === 'tenant' ? `/tenants/${p.tenantId}` : null;

/** Takes a batch of usage events: every event gets an answer, and the answer is given after commit (architecture §5.8). */
export class IngestUsage {
  constructor(
    private readonly deps: MeteringDeps,
    private readonly days: UsageDays,
  ) {}

  async run(principal: UsagePrincipal, events: unknown[]): Promise<{ results: IngestResult[] }> {
    const results = new Array<IngestResult>(events.length);
    const reject = (index: number, id: string, r: Rejection): void =>
      void (results[index] = { index, id, outcome: 'rejected', code: r.code, detail: r.detail });
    const now = toUs(this.deps.clock.now());
    const samples: { index: number; event: SampleEvent }[] = [];
    const watermarks: { index: number; event: WatermarkEvent }[] = [];
    const mine = ownSource(principal);
    for (const [index, raw] of events.entries()) {
      const parsed = parseUsageEvent(raw);
      if (!parsed.ok) {
        reject(index, parsed.id, parsed);
        continue;
      }
      const { event } = parsed;
      if (mine !== null && event.source !== mine) {
        reject(index, event.id, { code: 'usage.foreign_source', detail: 'this key does not speak for that source' });
        continue;
      }
      if (event.type === 'watermark') {
        const refused = refusedTime(event.through, now);
        if (refused?.code === 'usage.time_in_future') reject(index, event.id, refused);
        else watermarks.push({ index, event });
      } else samples.push({ index, event });
    }
    const candidates = await this.place(principal, samples, now, reject);
    await this.days.ensure(candidates.map((c) => c.event.at));
    const poster = posterOf(principal);
    const tenantIds = [...new Set(candidates.map((c) => c.binding.tenant_id))].sort();
    await this.deps.db.intake(tenantIds, async (tx) => {
      if (candidates.length > 0) await this.store(tx, poster, candidates, events, now, results);
      // After the samples and in the same commit: a watermark never speaks for a sample that is not there.
      for (const w of watermarks) results[w.index] = await this.advance(tx, poster, w.index, w.event, now);
    });
    await keepRejected(this.deps, poster, events, results, now);
    this.count(results);
    return { results };
  }

  /** Finds the binding of each sample and refuses what is not the poster's to report. */
  private async place(
    principal: UsagePrincipal,
    samples: { index: number; event: SampleEvent }[],
    now: bigint,
    reject: (i: number, id: string, r: Rejection) => void,
  ): Promise<Candidate[]> {
    if (samples.length === 0) return [];
    const rows = await this.deps.db.ops((tx) =>
      tx.query<Binding>(
        `select placement_id, tenant_id, subscription_id, source, (extract(epoch from valid_from) * 1000000)::bigint::text as from_us,
              (extract(epoch from valid_until) * 1000000)::bigint::text as until_us
         from usage_bindings where placement_id = any($1::uuid[]) order by valid_from`,
        [[...new Set(samples.map((s) => s.event.placementId))]],
      ),
    );
    const byPlacement = new Map<string, Binding[]>();
    for (const b of rows) byPlacement.set(b.placement_id, [...(byPlacement.get(b.placement_id) ?? []), b]);
    const accepted: Candidate[] = [];
    const tooOld: { event: SampleEvent; binding: Binding }[] = [];
    for (const { index, event } of samples) {
      const bindings = byPlacement.get(event.placementId) ?? [];
      if (bindings.length === 0) {
        reject(index, event.id, { code: 'usage.unknown_placement', detail: 'no usage is bound to this placement' });
        continue;
      }
      const own = bindings.filter((b) => b.source === event.source && (principal.kind !== 'tenant' || b.tenant_id === principal.tenantId));
      if (own.length === 0) {
        const foreign = principal.kind === 'operator' ? 'usage.foreign_source' : 'usage.foreign_placement';
        reject(index, event.id, { code: foreign, detail: 'this placement reports through another source or belongs to another tenant' });
        continue;
      }
      const fit = own.filter((b) => BigInt(b.from_us) <= event.at && (b.until_us === null || event.at <= BigInt(b.until_us)));
      const refused = refusedTime(event.at, now);
      if (refused) {
        reject(index, event.id, refused);
        if (refused.code === 'usage.too_old') tooOld.push({ event, binding: fit[0] ?? own[0]! });
        continue;
      }
      if (fit.length === 0) {
        reject(index, event.id, { code: 'usage.unknown_placement', detail: 'the placement served no subscription at that time' });
        continue;
      }
      // Where one binding ends and the next begins: a counter closes the old one, a gauge opens the new one.
      accepted.push({ index, event, binding: event.kind === 'counter' ? fit[0]! : fit.at(-1)!, hash: '' });
    }
    if (tooOld.length > 0) await this.deps.db.ops((tx) => nameTooOld(this.deps, tx, tooOld));
    return accepted;
  }

  private async store(
    tx: Tx,
    poster: string,
    candidates: Candidate[],
    raw: unknown[],
    now: bigint,
    results: IngestResult[],
  ): Promise<void> {
    const key = (e: SampleEvent): string => `${e.source}\u0000${e.id}`;
    const first = new Map<string, Candidate>();
    const repeats: Candidate[] = [];
    for (const c of candidates) {
      c.hash = sha256Hex(canonicalJson(raw[c.index]));
      if (first.has(key(c.event))) repeats.push(c);
      else first.set(key(c.event), c);
    }
    // One order for all: two requests with the same ids wait for each other instead of deadlocking.
    const rows = [...first.values()].sort((a, b) => (key(a.event) < key(b.event) ? -1 : 1));
    await shareShards(
      tx,
      rows.map((c) => shardOf(c.binding.subscription_id)),
    );
    const at = instantText(now);
    const fresh = await tx.query<{ source: string; event_id: string }>(
      `insert into usage_dedupe (principal, source, event_id, tenant_id, content_hash, received_at)
       select $1, s, i, t, h, $2::timestamptz from unnest($3::text[], $4::text[], $5::uuid[], $6::text[]) as u(s, i, t, h)
       on conflict do nothing returning source, event_id`,
      [
        poster,
        at,
        rows.map((c) => c.event.source),
        rows.map((c) => c.event.id),
        rows.map((c) => c.binding.tenant_id),
        rows.map((c) => c.hash),
      ],
    );
    const isFresh = new Set(fresh.map((f) => `${f.source}\u0000${f.event_id}`));
    const taken = rows.filter((c) => isFresh.has(key(c.event)));
    const seen = rows.filter((c) => !isFresh.has(key(c.event)));
    if (taken.length > 0) {
      await tx.query(
        `insert into usage_events (principal, source, event_id, occurred_at, tenant_id, subscription_id, placement_id, metric, kind, value, epoch, sequence, received_at, content_hash)
         select $1, s, i, o, t, sub, p, m, k, v, e, q, $2::timestamptz, h
           from unnest($3::text[], $4::text[], $5::timestamptz[], $6::uuid[], $7::uuid[], $8::uuid[], $9::text[], $10::text[], $11::numeric[], $12::text[], $13::numeric[], $14::text[])
             as u(s, i, o, t, sub, p, m, k, v, e, q, h)`,
        [
          poster,
          at,
          taken.map((c) => c.event.source),
          taken.map((c) => c.event.id),
          taken.map((c) => instantText(c.event.at)),
          taken.map((c) => c.binding.tenant_id),
          taken.map((c) => c.binding.subscription_id),
          taken.map((c) => c.event.placementId),
          taken.map((c) => c.event.metric),
          taken.map((c) => c.event.kind),
          taken.map((c) => c.event.value.toString()),
          taken.map((c) => c.event.epoch),
          taken.map((c) => c.event.sequence.toString()),
          taken.map((c) => c.hash),
        ],
      );
      await markLate(
        tx,
        taken.map((c) => ({ subscriptionId: c.binding.subscription_id, metric: c.event.metric, at: c.event.at })),
      );
    }
    const known = new Map<string, string>();
    if (seen.length > 0) {
      const hashes = await tx.query<{ source: string; event_id: string; content_hash: string }>(
        `select source, event_id, content_hash from usage_dedupe where principal = $1 and (source, event_id) in (select * from unnest($2::text[], $3::text[]))`,
        [poster, seen.map((c) => c.event.source), seen.map((c) => c.event.id)],
      );
      for (const h of hashes) known.set(`${h.source}\u0000${h.event_id}`, h.content_hash);
    }
    for (const c of taken) results[c.index] = { index: c.index, id: c.event.id, outcome: 'accepted' };
    // A key that another tenant holds is invisible here, and a conflict like other content.
    for (const c of seen) results[c.index] = repeated(c, known.get(key(c.event)));
    for (const c of repeats)
      results[c.index] = repeated(c, isFresh.has(key(c.event)) ? first.get(key(c.event))!.hash : known.get(key(c.event)));
  }

  private async advance(tx: Tx, poster: string, index: number, event: WatermarkEvent, now: bigint): Promise<IngestResult> {
    const moved = await tx.query(
      `insert into usage_sources (source, watermark, last_sequence, received_at, principal) values ($1, $2::timestamptz, $3, $4::timestamptz, $5)
       on conflict (source) do update set watermark = greatest(usage_sources.watermark, excluded.watermark), last_sequence = excluded.last_sequence,
         received_at = excluded.received_at, principal = excluded.principal where usage_sources.last_sequence < excluded.last_sequence returning 1`,
      [event.source, instantText(event.through), event.sequence.toString(), instantText(now), poster],
    );
    return { index, id: event.id, outcome: moved.length > 0 ? 'accepted' : 'duplicate' };
  }

  private count(results: IngestResult[]): void {
    const counter = this.deps.metrics?.counter('berth_usage_events_total', 'Usage events by outcome', ['outcome']);
    for (const r of results) counter?.inc({ outcome: r.outcome });
  }
}

const repeated = (c: Candidate, storedHash: string | undefined): IngestResult =>
  storedHash === c.hash
    ? { index: c.index, id: c.event.id, outcome: 'duplicate' }
    : { index: c.index, id: c.event.id, outcome: 'conflict', code: 'usage.duplicate_id', detail: 'this id was used for another event' };

/**
 * Notes the hours that were closed before these samples came. Under the shards' shared fence. Of an ended series the last hour
 * is the one that holds its end: the last sample may lie in the hour after it, and after a completion nobody would look there.
 */
export async function markLate(tx: Tx, samples: { subscriptionId: string; metric: string; at: bigint }[]): Promise<void> {
  // A sample on the edge of an hour may close a cut there, so the hour before is looked at too once its own is closed.
  await tx.query(
    `insert into late_arrivals (subscription_id, metric, hour, tenant_id)
     select distinct on (s.subscription_id, s.metric, l.hour) s.subscription_id, s.metric, l.hour, s.tenant_id
       from unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[]) as u(sub, metric, at, hour, before)
       join series s on s.subscription_id = u.sub and s.metric = u.metric
        and (u.hour < s.next_hour or s.completed_at is not null and u.at <= s.ended_at + $6::bigint * interval '1 microsecond')
      cross join lateral (select least(u.before, date_trunc('hour', s.ended_at - interval '1 microsecond', 'UTC')) as hour) l
     on conflict do nothing`,
    [
      samples.map((s) => s.subscriptionId),
      samples.map((s) => s.metric),
      samples.map((s) => instantText(s.at)),
      samples.map((s) => instantText(hourOf(s.at))),
      samples.map((s) => instantText(hourOf(s.at - 1n))),
      CARRY_LIMIT.toString(),
    ],
  );
}
