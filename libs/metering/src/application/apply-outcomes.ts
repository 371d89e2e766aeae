import { equalDecimals, parseForeign, type Tx } from '#platform';
import { fromUs, unitsText } from '../domain/units.js';
import { isTaken, settleTaken, type Answered, type AttemptOutcome } from '../infra/answers.sql.js';
import { OPEN_ITEM, type OpenItem } from '../infra/items.sql.js';
import { writeCarryIns, writeEntries, type EntryRow } from '../infra/write-ledger.js';
import type { MeteringDeps } from './deps.js';
import { raiseFindings, type NewFinding } from './findings.js';
import { lossFindingOf, unknownFinding } from './item-findings.js';

/** Near its deadline an item is tried at every half of the time that is left, not after a pause that ends too late. */
const SHORTEST_WAIT_MS = 5_000;

/**
 * Writes what the marketplace said: attempt, item, ledger and findings in one transaction, of as many batches as were answered by
 * now. An item that has its final outcome keeps it; a late answer of another attempt is kept with that attempt only.
 */
export async function applyOutcomes(tx: Tx, deps: MeteringDeps, answered: Answered[]): Promise<void> {
  // Two attempts of one item, of which one was taken for lost, are told one after the other.
  const seen = new Set<string>();
  const [once, again]: [Answered[], Answered[]] = [[], []];
  for (const a of answered) {
    (seen.has(a.itemId) ? again : once).push(a);
    seen.add(a.itemId);
  }
  for (const round of [once, again]) if (round.length > 0) await applyOnce(tx, deps, round);
}

async function applyOnce(tx: Tx, deps: MeteringDeps, answers: Answered[]): Promise<void> {
  const now = deps.clock.now();
  // Every writer goes by id, so that two of them do not wait for each other.
  const answered = answers.toSorted((a, b) => (a.itemId < b.itemId ? -1 : 1));
  // Items before attempts, as whoever claims does. What is not simply taken needs more of its item than that.
  const items = await lockItems(
    tx,
    answered.filter((a) => !isTaken(a.outcome)),
  );
  const taken = await settleTaken(tx, answered, now);
  const rest = answered.filter((a) => !taken.has(a.itemId));
  for (const [id, item] of await lockItems(
    tx,
    rest.filter((a) => !items.has(a.itemId)),
  ))
    items.set(id, item);
  const open = rest.filter((a) => items.get(a.itemId)?.settled === false);
  for (const { itemId, fence, outcome } of open) {
    const item = items.get(itemId)!;
    await new Outcome(tx, deps, item, now, item.fence === fence).apply(outcome);
  }
  const counter = deps.metrics?.counter('berth_submission_outcomes_total', 'Answers to usage items', ['marketplace', 'outcome']);
  for (const a of [...answered.filter((one) => taken.has(one.itemId)), ...open])
    counter?.inc({ marketplace: a.marketplace, outcome: a.outcome.outcome });
}

async function lockItems(tx: Tx, answered: Answered[]): Promise<Map<string, OpenItem>> {
  if (answered.length === 0) return new Map();
  const rows = await tx.query<OpenItem>(`${OPEN_ITEM} where i.item_id = any($1::uuid[]) order by i.item_id for update of i`, [
    answered.map((a) => a.itemId),
  ]);
  return new Map(rows.map((r) => [r.item_id, r]));
}

const seriesOf = (item: OpenItem): EntryRow['series'] => ({
  subscriptionId: item.subscription_id,
  meter: item.meter,
  tenantId: item.tenant_id,
});

function moveOf(item: OpenItem, term: EntryRow['term'], cause: string, quantity: bigint): EntryRow[] {
  if (quantity === 0n) return [];
  return [{ series: seriesOf(item), hour: BigInt(item.hour_us), segmentId: item.segment_id, term, cause, ref: item.item_id, quantity }];
}

/** What became of one item that was not simply taken. */
class Outcome {
  private readonly entries: EntryRow[] = [];
  private readonly hour: bigint;
  private readonly base: bigint;

  constructor(
    private readonly tx: Tx,
    private readonly deps: MeteringDeps,
    private readonly item: OpenItem,
    private readonly now: Date,
    private readonly current: boolean,
  ) {
    this.hour = BigInt(item.hour_us);
    this.base = BigInt(item.base_quantity);
  }

  async apply(o: AttemptOutcome): Promise<void> {
    switch (o.outcome) {
      case 'accepted':
      case 'duplicate_equal':
      case 'duplicate_conflict':
        return this.conflict(o.receipt, o.acceptedQuantity);
      case 'rejected':
        return this.item.unsure ? this.unknown(o.code) : this.lost('rejected', 'quarantined', o.code, o.detail);
      case 'refused_alone':
        if (!this.current) return;
        if (this.item.unsure) return this.unknown(o.code);
        return o.neighbourAnswered || (await this.othersWent())
          ? this.quarantine(o.code, o.detail)
          : this.wait('pending', 'refused_alone', this.backOff());
      case 'expired':
        return this.item.unsure ? this.unknown('expired') : this.lost('expired', 'expired', 'expired', o.detail);
      case 'deferred':
        if (o.serviceBlocked && this.item.last_code !== o.code) await this.reportBlocked();
        return this.wait(this.item.unsure ? 'unknown' : 'deferred', o.code, o.retryAfterMs);
      case 'busy':
        return this.wait(this.item.unsure ? 'unknown' : 'pending', 'busy', o.retryAfterMs ?? this.backOff());
      case 'unknown':
        return this.wait(
          'unknown',
          'unknown',
          this.deps.marketplaces.get(this.item.marketplace as 'azure').usage.safeResend ? this.backOff() : null,
        );
    }
  }

  /** They hold another number under our key: both are kept, the excess is over-reported, what is missing goes into a later hour. */
  private async conflict(receipt: string | null, theirs: string | null): Promise<void> {
    const finding: NewFinding = {
      kind: 'duplicate_conflict',
      dedupeKey: `duplicate_conflict:${this.item.item_id}`,
      tenantId: this.item.tenant_id,
      subscriptionId: this.item.subscription_id,
      dimension: this.item.dimension,
      hour: fromUs(this.hour),
      evidence: { itemId: this.item.item_id, ours: this.item.quantity, theirs, receipt },
    };
    // A number they did not tell cannot be booked: it stays pending until the read-back shows it.
    if (theirs === null) {
      await this.settle('conflict', 'duplicate_conflict', receipt, null);
      return void (await raiseFindings(this.tx, this.deps.clock, [finding]));
    }
    const perUnit = BigInt(this.item.base_per_unit);
    const { digits, scale } = parseForeign(theirs);
    const got = equalDecimals(theirs, this.item.quantity) ? this.base : (digits * perUnit) / 10n ** BigInt(scale);
    const more = got - this.base;
    this.move('pending', 'duplicate_conflict', -this.base);
    this.move('accepted', 'duplicate_conflict', got);
    const findings: NewFinding[] = [{ ...finding, units: unitsText(more < 0n ? -more : more, perUnit) }];
    if (more > 0n) {
      this.move('over_reported', 'duplicate_conflict', more);
      findings.push({
        ...finding,
        kind: 'over_reported',
        dedupeKey: `over_reported:${this.item.item_id}`,
        units: unitsText(more, perUnit),
      });
    } else if (more < 0n) findings.push(...(await this.carry(-more)));
    await this.settle('conflict', 'duplicate_conflict', receipt, theirs);
    await raiseFindings(this.tx, this.deps.clock, findings);
  }

  private async carry(amount: bigint): Promise<NewFinding[]> {
    const series = seriesOf(this.item);
    const [row] = await this.tx.query<{ over: boolean }>(
      'select completed_at is not null as over from series where subscription_id = $1 and meter = $2 for update',
      [series.subscriptionId, series.meter],
    );
    if (row && !row.over) {
      this.move('deferred', 'duplicate_conflict', amount);
      await writeCarryIns(
        this.tx,
        [
          {
            series,
            segmentId: this.item.segment_id,
            kind: 'deferred',
            stage: 'billable',
            cause: 'duplicate_conflict',
            origin: `item:${this.item.item_id}`,
            fromHour: this.hour,
            amount,
          },
        ],
        this.now,
        'outside',
      );
      return [];
    }
    this.move('loss', 'missed_window', amount);
    return [this.lossFinding('missed_window', amount, { cause: 'duplicate_conflict' })];
  }

  private async lost(state: 'rejected' | 'expired', cause: 'quarantined' | 'expired', code: string, detail: string): Promise<void> {
    this.move('pending', cause, -this.base);
    this.move('loss', cause, this.base);
    await this.settle(state, code, null, null);
    await raiseFindings(this.tx, this.deps.clock, [this.lossFinding(cause, this.base, { code, detail: detail.slice(0, 1_000) })]);
  }

  /** Unless others went since it was first refused, nothing tells its fault from ours (a version or a setting refuses everything). */
  private async othersWent(): Promise<boolean> {
    const rows = await this.tx.query(
      `select 1 from submission_items i join marketplace_gates g using (marketplace, gate)
        where i.item_id = $1 and g.answered_at > (select min(a.outcome_at) from submission_attempts a where a.item_id = i.item_id and a.outcome = 'refused_alone')`,
      [this.item.item_id],
    );
    return rows.length > 0;
  }

  /** Nothing of it is lost yet: a person lets it go again (`resubmit`), or it becomes a loss at its hard deadline. */
  private async quarantine(code: string, detail: string): Promise<void> {
    await this.tx.query(
      `update submission_items set state = 'held', hold_reason = 'quarantined', last_code = $2, lease_until = null where item_id = $1`,
      [this.item.item_id, code],
    );
    const finding = this.lossFinding('quarantined', this.base, { code, detail: detail.slice(0, 1_000), held: true });
    await raiseFindings(this.tx, this.deps.clock, [{ ...finding, dedupeKey: `${finding.dedupeKey}:${this.item.attempts}` }]);
  }

  /** An earlier answer was lost, so a refusal now does not say that nothing was taken then. */
  private async unknown(code: string): Promise<void> {
    await this.tx.query(
      `update submission_items set state = 'unknown', last_code = $2, lease_until = null, next_attempt_at = hard_at where item_id = $1`,
      [this.item.item_id, code],
    );
    await raiseFindings(this.tx, this.deps.clock, [unknownFinding(this.item, code)]);
  }

  /** Only the holder of the lease decides when to try again; `null`: not by us. */
  private async wait(state: 'pending' | 'deferred' | 'unknown', code: string, ms: number | null): Promise<void> {
    if (!this.current) return;
    const left = this.item.hard_at.getTime() - this.now.getTime();
    const at = ms === null ? this.item.hard_at : new Date(this.now.getTime() + Math.min(ms, Math.max(SHORTEST_WAIT_MS, left / 2)));
    await this.tx.query(
      `update submission_items set state = $2, last_code = $3, lease_until = null, next_attempt_at = $4 where item_id = $1`,
      [this.item.item_id, state, code, at],
    );
    if (ms === null) await raiseFindings(this.tx, this.deps.clock, [unknownFinding(this.item, code)]);
  }

  /** Whether the buyer may be served at all is asked on a lane of its own, once for each new refusal. */
  private async reportBlocked(): Promise<void> {
    const { subscription_id: subscriptionId } = this.item;
    await this.deps.tasks.publish(this.tx, { type: 'usage.blocked', lane: `service:${subscriptionId}`, payload: { subscriptionId } });
  }

  private backOff(): number {
    return Math.min(600_000, 2_000 * 2 ** Math.min(10, this.item.attempts));
  }

  private async settle(state: string, code: string, receipt: string | null, quantity: string | null): Promise<void> {
    await this.tx.query(
      `update submission_items set state = $2, last_code = $3, receipt = $4, accepted_quantity = $5, settled_at = $6, lease_until = null where item_id = $1`,
      [this.item.item_id, state, code, receipt, quantity, this.now],
    );
    await writeEntries(this.tx, this.entries, this.now, 'outside');
  }

  private move(term: EntryRow['term'], cause: string, quantity: bigint): void {
    this.entries.push(...moveOf(this.item, term, cause, quantity));
  }

  private lossFinding(cause: 'quarantined' | 'expired' | 'missed_window', amount: bigint, evidence: Record<string, unknown>): NewFinding {
    return lossFindingOf(this.item, cause, amount, evidence);
  }
}
