import { parseDecimal, realNow, type Tx } from '#platform';
import type { MarketplaceAdapter } from '#marketplaces/core';
import { readMeteredSubscriptions } from '#entitlements';
import type { Admission } from '../domain/breaker.js';
import { quantaText } from '../domain/units.js';
import type { Gates } from '../infra/gates.sql.js';
import {
  beginAttempts,
  loseOpenAttempts,
  monthStart,
  storeWires,
  unbuiltItems,
  waitingItems,
  waitingMates,
  type Claimed,
  type Claiming,
  type UnbuiltItem,
  type WaitingItem,
} from '../infra/claims.sql.js';
import { readSplits } from '../infra/cost-split.sql.js';
import { OPEN_ITEM, type OpenItem } from '../infra/items.sql.js';
import { tryBuild } from '../infra/write-records.js';
import { leaseOf, rateOf, type MeteringDeps } from './deps.js';
import { raiseFindings, type NewFinding } from './findings.js';
import { unknownFinding } from './item-findings.js';

/** A batch that is ours: its intent is written with the transaction of the claim. */
export interface ClaimedBatch {
  items: Claimed[];
  /** Its earliest. */
  hardAt: Date;
  admission: Admission;
}

export interface Wave {
  batches: ClaimedBatch[];
  /** Items that wait, as far as it looked, and batches of them that could go. */
  found: number;
  wanted: number;
  /** There may be more than it looked at or could take. */
  more: boolean;
  /** Until a gate has its next token, where one had too few. */
  waitMs: number | null;
}

/** Items that go in one call: one marketplace, batch key, gate and billing month. */
type Batch = WaitingItem[];

/** Takes several batches in one transaction: wire items, tokens, intents. Reads what is the same for all of them once. */
export class ClaimWave {
  constructor(
    private readonly deps: MeteringDeps,
    private readonly gates: Gates,
  ) {}

  /** At most `size` batches, earliest hard deadline first; each is sent within `aheadMs`, or given back. */
  async run(tx: Tx, adapter: MarketplaceAdapter, size: number, aheadMs: number): Promise<Wave> {
    const { marketplace, usage } = adapter;
    const now = this.deps.clock.now();
    const limit = size * usage.batchSize;
    const found = await waitingItems(tx, now, marketplace, await this.gates.standing(tx, marketplace), limit);
    if (found.length === 0) return { batches: [], found: 0, wanted: 0, more: false, waitMs: null };
    const all = inBatches(await this.built(tx, adapter, found, now), usage.batchSize);
    const batches = all.slice(0, size);
    if (found.length === limit) await fillUp(tx, now, batches, usage.batchSize, found.at(-1)!);
    const sendable = await this.sendable(tx, batches.flat(), now, usage.safeResend);
    const ready = batches.map((batch) => batch.filter((i) => sendable.has(i.item_id))).filter((batch) => batch.length > 0);
    const { admitted, waitMs } = await this.admit(tx, adapter, ready);
    const leaseUntil = new Date(realNow().getTime() + leaseOf(this.deps) + aheadMs);
    const items = admitted.map(({ batch }) => batch.map(claiming));
    const claimed = items.length > 0 ? await beginAttempts(tx, this.deps.calls, now, leaseUntil, items) : [];
    return {
      batches: claimed.map((mine, n) => ({ items: mine, hardAt: mine[0]!.hardAt, admission: admitted[n]!.admission })),
      found: found.length,
      wanted: ready.length,
      more: found.length === limit || all.length > size,
      waitMs,
    };
  }

  /** Those with bytes; bytes that are missing are built now where the marketplace has given by now what they need. */
  private async built(tx: Tx, adapter: MarketplaceAdapter, found: WaitingItem[], now: Date): Promise<WaitingItem[]> {
    const bare = found.filter((i) => !i.wire || !i.batch_key);
    if (bare.length === 0) return found;
    const of = await unbuiltItems(tx, idsOf(bare));
    const subscriptionIds = [...new Set(bare.map((i) => i.subscription_id))];
    const subscriptions = new Map((await readMeteredSubscriptions(tx, { subscriptionIds })).map((s) => [s.subscriptionId, s]));
    const splits = await readSplits(
      tx,
      bare.map((i) => i.record_id),
    );
    const made: (NonNullable<ReturnType<typeof tryBuild>> & { itemId: string })[] = [];
    const missing: WaitingItem[] = [];
    const findings: NewFinding[] = [];
    for (const item of bare) {
      let why = 'the purchase is not known';
      const record = of.get(item.item_id)!;
      const subscription = subscriptions.get(item.subscription_id);
      const parts = splits.get(item.record_id);
      const input = { ...inputOf(item, record), ...(parts ? { parts } : {}) };
      const built = subscription ? tryBuild(adapter, subscription, input, (fault) => (why = fault)) : null;
      if (built) {
        made.push({ itemId: item.item_id, ...built });
        Object.assign(item, { wire: built.wire, batch_key: built.batchKey, gate: built.gate });
        continue;
      }
      missing.push(item);
      if (item.target_at <= now) findings.push(unbuiltFinding(item, record.dimension, why));
    }
    if (made.length > 0) await storeWires(tx, made);
    if (findings.length > 0) await raiseFindings(tx, this.deps.clock, findings);
    if (missing.length > 0)
      await tx.query(
        `update submission_items set state = 'deferred', last_code = 'references_missing', next_attempt_at = $2 where item_id = any($1::uuid[])`,
        [idsOf(missing), new Date(now.getTime() + 60_000)],
      );
    return found.filter((i) => i.wire && i.batch_key);
  }

  /** Which may be asked for: not what is held for a suspension, nor what may have been taken where a repeat is not safe. */
  private async sendable(tx: Tx, items: WaitingItem[], now: Date, safeResend: boolean): Promise<Set<string>> {
    if (items.length === 0) return new Set();
    const lost = await loseOpenAttempts(tx, idsOf(items.filter((i) => i.attempts > 0)), now);
    const outcome = { error: 'no outcome was recorded: the process ended' };
    await this.deps.calls.endMany(
      [...new Set(lost.map((l) => l.call_id))].map((callId) => ({ callId, state: 'unknown', outcome })),
      tx,
    );
    const unsure = safeResend ? [] : [...new Set([...lost.map((l) => l.item_id), ...idsOf(items.filter((i) => i.state === 'unknown'))])];
    if (unsure.length > 0) await this.leaveToPerson(tx, unsure);
    const subscriptionIds = [...new Set(items.map((i) => i.subscription_id))];
    const suspended = new Set((await readMeteredSubscriptions(tx, { subscriptionIds, state: 'suspended' })).map((s) => s.subscriptionId));
    const held = items.filter((i) => suspended.has(i.subscription_id) && i.target_at > now && i.state === 'pending');
    if (held.length > 0)
      await tx.query(`update submission_items set state = 'held', hold_reason = 'suspended' where item_id = any($1::uuid[])`, [
        idsOf(held),
      ]);
    const left = new Set([...unsure, ...idsOf(held)]);
    return new Set(idsOf(items).filter((id) => !left.has(id)));
  }

  /** Not ours to ask again: a person or the read-back decides (money.md "Outcomes"). */
  private async leaveToPerson(tx: Tx, itemIds: string[]): Promise<void> {
    await tx.query(
      `update submission_items set state = 'unknown', lease_until = null, next_attempt_at = hard_at where item_id = any($1::uuid[])`,
      [itemIds],
    );
    const items = await tx.query<OpenItem>(`${OPEN_ITEM} where i.item_id = any($1::uuid[]) order by i.item_id`, [itemIds]);
    await raiseFindings(
      tx,
      this.deps.clock,
      items.map((item) => unknownFinding(item, 'answer_lost')),
    );
  }

  /** Each gate lets through as many as it has tokens for, the earliest deadlines; one that is probed lets a single batch through. */
  private async admit(
    tx: Tx,
    adapter: MarketplaceAdapter,
    ready: Batch[],
  ): Promise<{ admitted: { batch: Batch; admission: Admission }[]; waitMs: number | null }> {
    const rate = rateOf(this.deps, adapter);
    const left = new Map<string, { admission: Admission; calls: number }>();
    let waitMs: number | null = null;
    // In one order, so that two workers never wait for each other's gates.
    for (const gate of [...new Set(ready.map((batch) => batch[0]!.gate))].sort()) {
      const mine = ready.filter((batch) => batch[0]!.gate === gate);
      const { hard_at: hardAt } = mine[0]![0]!;
      const { marketplace } = adapter;
      const entry = await this.gates.enter(tx, { marketplace, gate, hardAt, rate, leaseMs: leaseOf(this.deps), calls: mine.length });
      left.set(gate, entry);
      if (entry.waitMs > 0) waitMs = Math.min(waitMs ?? Infinity, entry.waitMs);
    }
    const admitted = ready.flatMap((batch) => {
      const gate = left.get(batch[0]!.gate)!;
      return gate.calls-- > 0 ? [{ batch, admission: gate.admission }] : [];
    });
    return { admitted, waitMs };
  }
}

const idsOf = (items: WaitingItem[]): string[] => items.map((i) => i.item_id);

/** In the order they come in; what can go together does, as far as there is room in a batch. */
function inBatches(items: WaitingItem[], batchSize: number): Batch[] {
  const batches: Batch[] = [];
  const open = new Map<string, Batch>();
  for (const item of items) {
    const kind = [item.batch_key, item.gate, monthStart(item.hour, 0).getTime()].join('|');
    let batch = open.get(kind);
    if (!batch || batch.length === batchSize) {
      batch = [];
      open.set(kind, batch);
      batches.push(batch);
    }
    batch.push(item);
  }
  return batches;
}

/** Where more wait than were read, a batch that has room takes what of its kind comes behind them. */
async function fillUp(tx: Tx, now: Date, batches: Batch[], batchSize: number, after: WaitingItem): Promise<void> {
  for (const batch of batches)
    if (batch.length < batchSize) batch.push(...(await waitingMates(tx, now, batch[0]!, after, batchSize - batch.length)));
}

const claiming = (i: WaitingItem): Claiming => ({
  itemId: i.item_id,
  tenantId: i.tenant_id,
  subscriptionId: i.subscription_id,
  marketplace: i.marketplace,
  wire: i.wire!,
  gate: i.gate,
  hardAt: i.hard_at,
  // What somebody was sending when he died may have been taken.
  before: i.state === 'in_flight' ? 'unknown' : i.state,
});

const inputOf = (item: WaitingItem, record: UnbuiltItem): Parameters<typeof tryBuild>[2] => ({
  itemId: item.item_id,
  externalPlanId: record.external_plan_id,
  dimension: record.dimension,
  hour: item.hour,
  startsAt: record.starts_at,
  endsAt: record.ends_at,
  quantity: exactQuantity(record),
});

/** Past its target it is late already, and at its hard deadline it will be a loss: once a purchase and dimension, while there is time. */
const unbuiltFinding = (item: WaitingItem, dimension: string, why: string): NewFinding => ({
  kind: 'usage_unbuilt',
  dedupeKey: `usage_unbuilt:${item.subscription_id}:${dimension}`,
  tenantId: item.tenant_id,
  subscriptionId: item.subscription_id,
  dimension,
  hour: item.hour,
  deadline: item.hard_at,
  evidence: { itemId: item.item_id, marketplace: item.marketplace, why: why.slice(0, 500), remedy: `berth doctor ${item.marketplace}` },
});

/** Postgres gives numeric text as it was stored; this only makes the number of decimals certain. */
function exactQuantity(r: { quantity: string; decimals: number }): string {
  const { digits, scale } = parseDecimal(r.quantity);
  return quantaText((digits * 10n ** BigInt(r.decimals)) / 10n ** BigInt(scale), r.decimals);
}
