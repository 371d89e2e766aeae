import { realNow, type Clock, type Tx } from '#platform';
import type { Marketplace } from '#marketplaces/core';
import { admits, answered, failed, probing, take, type Admission, type Breaker, type Instant, type Rate } from '../domain/breaker.js';

export interface GateRow extends Breaker {
  marketplace: Marketplace;
  gate: string;
  tokens: number;
  tokensAt: Date;
  /** Business time of the last answer about items, whatever it said of them. */
  answeredAt: Date | null;
}
interface Raw {
  marketplace: Marketplace;
  gate: string;
  tokens: number;
  tokens_at: Date;
  answered_at: Date | null;
  state: Breaker['state'];
  failures: number;
  pause_ms: string;
  failed_at: Date | null;
  failed_real: Date | null;
  probe_until: Date | null;
  reason: string | null;
  since: Date | null;
}
const COLUMNS =
  'marketplace, gate, tokens, tokens_at, answered_at, state, failures, pause_ms::text, failed_at, failed_real, probe_until, reason, since';
const toRow = (r: Raw): GateRow => ({
  marketplace: r.marketplace,
  gate: r.gate,
  tokens: r.tokens,
  tokensAt: r.tokens_at,
  answeredAt: r.answered_at,
  state: r.state,
  failures: r.failures,
  pauseMs: Number(r.pause_ms),
  failed: r.failed_at && r.failed_real ? { business: r.failed_at, real: r.failed_real } : null,
  probeUntil: r.probe_until,
  reason: r.reason,
  since: r.since,
});

/** What changed at a gate, for whoever must be told. */
export interface GateChange {
  before: GateRow;
  after: Breaker;
}

/** The rows of token buckets and breakers. Whoever also locks submission items locks those first. */
export class Gates {
  constructor(
    private readonly clock: Clock,
    /** Real time (architecture law 9). */
    private readonly real: () => Date = realNow,
  ) {}

  now(): Instant {
    return { business: this.clock.now(), real: this.real() };
  }

  /** Gates that let nothing through now, and those whose one batch may also be an item that waits for the marketplace. */
  async standing(tx: Tx, marketplace: Marketplace): Promise<{ shut: string[]; forced: string[] }> {
    const rows = await tx.query<Raw & { hard_at: Date | null }>(
      `select ${COLUMNS}, (select min(i.hard_at) from submission_items i where i.marketplace = g.marketplace and i.gate = g.gate and i.settled_at is null
          and i.state in ('pending', 'deferred', 'unknown', 'in_flight') and i.hard_at > $2) as hard_at
         from marketplace_gates g where marketplace = $1 and state <> 'closed'`,
      [marketplace, this.clock.now()],
    );
    const now = this.now();
    const judged = rows.map((r) => ({ gate: r.gate, admission: admits(toRow(r), now, r.hard_at) }));
    const of = (wanted: Admission): string[] => judged.filter((j) => j.admission === wanted).map((j) => j.gate);
    return { shut: of('no'), forced: of('forced') };
  }

  /**
   * Takes the right to calls through a gate, `calls` at most; `leaseMs` is how long a probe may last. `waitMs` above 0: so long
   * until there is a token for one more. Concurrent workers wait for each other's row here and never take one token twice.
   */
  async enter(
    tx: Tx,
    at: { marketplace: Marketplace; gate: string; hardAt: Date; rate: Rate | null; leaseMs: number; calls: number },
  ): Promise<{ admission: Admission; calls: number; waitMs: number }> {
    const now = this.now();
    // Nothing to take and nothing to write at a gate that stands open: workers side by side need not wait for each other's row.
    if (!at.rate && (await this.lets(tx, at, now))) return { admission: 'yes', calls: at.calls, waitMs: 0 };
    const row = await this.lock(tx, at.marketplace, at.gate, at.rate);
    const admission = admits(row, now, at.hardAt);
    if (admission === 'no') return { admission, calls: 0, waitMs: 0 };
    const wanted = admission === 'yes' ? at.calls : 1;
    const taken = at.rate ? await this.takeTokens(tx, row, at.rate, wanted) : { tokens: wanted, waitMs: 0 };
    if (taken.tokens > 0 && admission !== 'yes') await this.write(tx, row, probing(row, now, at.leaseMs));
    return { admission, calls: taken.tokens, waitMs: taken.waitMs };
  }

  /** A probe that was not sent after all: whoever comes next may probe. */
  async unprobed(tx: Tx, marketplace: Marketplace, gate: string): Promise<void> {
    await tx.query(`update marketplace_gates set probe_until = null where marketplace = $1 and gate = $2 and state = 'half_open'`, [
      marketplace,
      gate,
    ]);
  }

  private async lets(tx: Tx, at: { marketplace: Marketplace; gate: string; hardAt: Date }, now: Instant): Promise<boolean> {
    const [row] = await tx.query<Raw>(`select ${COLUMNS} from marketplace_gates where marketplace = $1 and gate = $2`, [
      at.marketplace,
      at.gate,
    ]);
    return row !== undefined && admits(toRow(row), now, at.hardAt) === 'yes';
  }

  /** A further call for items that are ours already (bisecting): the rate counts, the breaker has let them through. */
  async token(tx: Tx, at: { marketplace: Marketplace; gate: string; rate: Rate | null }): Promise<number> {
    if (!at.rate) return 0;
    return (await this.takeTokens(tx, await this.lock(tx, at.marketplace, at.gate, at.rate), at.rate, 1)).waitMs;
  }

  async failed(tx: Tx, marketplace: Marketplace, gate: string, reason: string, retryAfterMs: number | null): Promise<GateChange> {
    const before = await this.lock(tx, marketplace, gate, null);
    const after = failed(before, this.now(), reason, retryAfterMs);
    await this.write(tx, before, after);
    return { before, after };
  }

  async answered(tx: Tx, marketplace: Marketplace, gate: string): Promise<GateChange> {
    const before = await this.lock(tx, marketplace, gate, null);
    const after = answered();
    await this.write(tx, before, after, this.clock.now());
    return { before, after };
  }

  private async lock(tx: Tx, marketplace: Marketplace, gate: string, rate: Rate | null): Promise<GateRow> {
    const read = (): Promise<Raw[]> =>
      tx.query<Raw>(`select ${COLUMNS} from marketplace_gates where marketplace = $1 and gate = $2 for update`, [marketplace, gate]);
    let [row] = await read();
    if (!row) {
      await tx.query(
        'insert into marketplace_gates (marketplace, gate, tokens, tokens_at) values ($1, $2, $3, $4) on conflict do nothing',
        [marketplace, gate, rate?.burst ?? 1, this.real()],
      );
      [row] = await read();
    }
    return toRow(row!);
  }

  private async takeTokens(tx: Tx, row: GateRow, rate: Rate, wanted: number): Promise<{ tokens: number; waitMs: number }> {
    const real = this.real();
    const { taken, tokens, waitMs } = take({ tokens: row.tokens, at: row.tokensAt }, rate, real, wanted);
    if (taken > 0)
      await tx.query('update marketplace_gates set tokens = $3, tokens_at = $4 where marketplace = $1 and gate = $2', [
        row.marketplace,
        row.gate,
        tokens,
        real,
      ]);
    return { tokens: taken, waitMs };
  }

  private write(tx: Tx, { marketplace, gate }: GateRow, b: Breaker, answeredAt: Date | null = null): Promise<unknown> {
    return tx.query(
      `update marketplace_gates set state = $3, failures = $4, pause_ms = $5, failed_at = $6, failed_real = $7, probe_until = $8, reason = $9, since = $10,
              answered_at = coalesce($11, answered_at)
        where marketplace = $1 and gate = $2`,
      [
        marketplace,
        gate,
        b.state,
        b.failures,
        b.pauseMs,
        b.failed?.business ?? null,
        b.failed?.real ?? null,
        b.probeUntil,
        b.reason,
        b.since,
        answeredAt,
      ],
    );
  }
}

/** All gates as they stand; operators' role. */
export async function readGates(tx: Tx): Promise<GateRow[]> {
  return (await tx.query<Raw>(`select ${COLUMNS} from marketplace_gates order by marketplace, gate`)).map(toRow);
}
