import { errorText, type Tx } from '#platform';
import { MarketplaceBusy, MarketplaceRefusal, type Marketplace, type UsageItemOutcome } from '#marketplaces/core';
import { readMeteredSubscriptions } from '#entitlements';
import { quantaText, parseDecimal } from '../domain/units.js';
import { batchMates, beginAttempts, headItem, loseOpenAttempts, storeWire, type Claimed, type ItemRow } from '../infra/items.sql.js';
import { tryBuild } from '../infra/write-closings.js';
import { applyOutcomes, OPEN_ITEM, unknownFinding, type AttemptOutcome, type OpenItem } from './apply-outcomes.js';
import type { MeteringDeps } from './deps.js';
import { expireItems } from './expire-items.js';
import { credentialsRefused, raiseFindings, type NewFinding } from './findings.js';
import { settleClosing } from './settle.js';

const DEFAULT_LEASE_MS = 60_000;
const BATCHES_PER_PASS = 200;
/** A refused connection, key or rate says nothing about the items: they wait. Anything else refused is about what was sent. */
const ABOUT_US = new Set([401, 403, 407, 408, 423, 425, 429]);

/**
 * Sends what is due: earliest hard deadline first, intent before and outcome after, bytes stored once (architecture §5.10).
 * Each marketplace has passes of its own, one at a time: a slow one delays neither the others nor the closing of hours.
 */
export class SubmitDue {
  private readonly passes = new Map<Marketplace, Promise<number>>();
  constructor(private readonly deps: MeteringDeps) {}

  /** Everything once, for callers that have no clocks. */
  async run(): Promise<number> {
    const swept = await this.sweep();
    const sent = await Promise.all(this.deps.marketplaces.all().map((a) => this.pass(a.marketplace)));
    return sent.reduce((sum, n) => sum + n, swept);
  }

  /** Rows only, no marketplace is asked: names what missed its deadline, lets go what was held for a suspension. */
  async sweep(): Promise<number> {
    const done = (await expireItems(this.deps)) + (await this.releaseSuspended());
    return done > 0 ? done + (await settleClosing(this.deps)) : 0;
  }

  /** Sends what is due at one marketplace; a call during a pass joins it. */
  pass(marketplace: Marketplace): Promise<number> {
    let pass = this.passes.get(marketplace);
    if (!pass) {
      pass = this.sendAll(marketplace).finally(() => this.passes.delete(marketplace));
      this.passes.set(marketplace, pass);
    }
    return pass;
  }

  private async sendAll(marketplace: Marketplace): Promise<number> {
    let done = 0;
    await this.prepare(marketplace);
    for (let n = 0; n < BATCHES_PER_PASS; n++) {
      const batch = await this.deps.db.ops((tx) => this.claim(tx, marketplace));
      if (batch === null) break;
      if (batch.length > 0) await this.send(batch);
      done += Math.max(1, batch.length);
    }
    if (done > 0) done += await settleClosing(this.deps);
    return done;
  }

  /** Without it items wait unbuilt, which loses nothing until their deadline; a definite no needs a person before that. */
  private async prepare(marketplace: Marketplace): Promise<void> {
    try {
      await this.deps.marketplaces.get(marketplace).prepareUsage?.();
    } catch (error) {
      this.deps.logger.warn({ marketplace, err: errorText(error) }, 'what usage items need could not be read');
      if (error instanceof MarketplaceRefusal)
        await this.deps.db.ops((tx) =>
          raiseFindings(tx, this.deps.clock, [credentialsRefused(marketplace, this.deps.clock.now(), error.message)]),
        );
    }
  }

  /** The next batch with its intent; empty where the head could not go and was put back; null where nothing is due. */
  private async claim(tx: Tx, marketplace: Marketplace): Promise<Claimed[] | null> {
    const now = this.deps.clock.now();
    const head = await headItem(tx, now, marketplace);
    if (!head) return null;
    const adapter = this.deps.marketplaces.get(head.marketplace);
    let { wire, batch_key: batchKey } = head;
    if (!wire || !batchKey) {
      const [subscription] = await readMeteredSubscriptions(tx, { subscriptionIds: [head.subscription_id] });
      let why = 'the purchase is not known';
      const built = subscription
        ? tryBuild(
            adapter,
            subscription,
            {
              itemId: head.item_id,
              externalPlanId: head.external_plan_id,
              dimension: head.dimension,
              hour: head.hour,
              startsAt: head.starts_at,
              endsAt: head.ends_at,
              quantity: exactQuantity(head),
            },
            (fault) => (why = fault),
          )
        : null;
      if (!built) {
        if (head.target_at <= now) await raiseFindings(tx, this.deps.clock, [unbuiltFinding(head, why)]);
        await tx.query(
          `update submission_items set state = 'deferred', last_code = 'references_missing', next_attempt_at = $2 where item_id = $1`,
          [head.item_id, new Date(now.getTime() + 60_000)],
        );
        return [];
      }
      ({ wire, batchKey } = built);
      await storeWire(tx, head.item_id, wire, batchKey);
    }
    const mates = adapter.usage.batchSize > 1 ? await batchMates(tx, now, head, batchKey, adapter.usage.batchSize - 1) : [];
    const rows = await this.sendable(tx, [{ ...head, wire }, ...mates], now, adapter.usage.safeResend);
    if (rows.length === 0) return [];
    return beginAttempts(
      tx,
      this.deps.calls,
      now,
      this.deps.options?.submissionLeaseMs ?? DEFAULT_LEASE_MS,
      rows.map((r) => ({
        itemId: r.item_id,
        tenantId: r.tenant_id,
        subscriptionId: r.subscription_id,
        marketplace: r.marketplace,
        wire: r.wire!,
      })),
    );
  }

  private async sendable(tx: Tx, rows: ItemRow[], now: Date, safeResend: boolean): Promise<ItemRow[]> {
    const lost = await loseOpenAttempts(
      tx,
      rows.map((r) => r.item_id),
      now,
    );
    for (const callId of new Set(lost.map((l) => l.call_id)))
      await this.deps.calls.end(callId, 'unknown', { error: 'no outcome was recorded: the process ended' }, tx);
    const unsure = new Set(
      safeResend ? [] : [...lost.map((l) => l.item_id), ...rows.filter((r) => r.state === 'unknown').map((r) => r.item_id)],
    );
    const suspended = new Set(
      (await readMeteredSubscriptions(tx, { subscriptionIds: rows.map((r) => r.subscription_id) }))
        .filter((s) => s.state === 'suspended')
        .map((s) => s.subscriptionId),
    );
    const out: ItemRow[] = [];
    for (const r of rows) {
      if (unsure.has(r.item_id)) {
        // Not ours to ask again: a person or the read-back decides (money.md "Outcomes").
        await tx.query(`update submission_items set state = 'unknown', lease_until = null, next_attempt_at = hard_at where item_id = $1`, [
          r.item_id,
        ]);
        const [item] = await tx.query<OpenItem>(`${OPEN_ITEM} where i.item_id = $1`, [r.item_id]);
        await raiseFindings(tx, this.deps.clock, [unknownFinding(item!, 'answer_lost')]);
      } else if (suspended.has(r.subscription_id) && r.target_at > now && r.state === 'pending') {
        await tx.query(`update submission_items set state = 'held', hold_reason = 'suspended' where item_id = $1`, [r.item_id]);
      } else out.push(r);
    }
    return out;
  }

  /** After reinstatement, or when the target deadline has passed: "not active" is no final answer, so asking costs nothing. */
  private releaseSuspended(): Promise<number> {
    return this.deps.db.ops(async (tx) => {
      const held = await tx.query<{ item_id: string; subscription_id: string; target_at: Date }>(
        `select item_id, subscription_id, target_at from submission_items where state = 'held' and hold_reason = 'suspended' and settled_at is null for update skip locked`,
      );
      if (held.length === 0) return 0;
      const suspended = new Set(
        (await readMeteredSubscriptions(tx, { subscriptionIds: held.map((h) => h.subscription_id) }))
          .filter((s) => s.state === 'suspended')
          .map((s) => s.subscriptionId),
      );
      const free = held.filter((h) => !suspended.has(h.subscription_id) || h.target_at <= this.deps.clock.now());
      await tx.query(
        `update submission_items set state = 'pending', hold_reason = null, next_attempt_at = $2 where item_id = any($1::uuid[])`,
        [free.map((f) => f.item_id), this.deps.clock.now()],
      );
      return free.length;
    });
  }

  private async send(batch: Claimed[]): Promise<void> {
    const adapter = this.deps.marketplaces.get(batch[0]!.marketplace);
    let outcomes: AttemptOutcome[];
    let call: { state: 'ok' | 'refused' | 'unknown'; outcome: unknown };
    let aboutUs: string | null = null;
    try {
      const answers = await adapter.submitUsage(batch.map((b) => b.wire));
      outcomes = batch.map(
        (b) =>
          answers.find((a) => a.itemId === b.itemId) ?? {
            itemId: b.itemId,
            outcome: 'unknown',
            detail: 'the answer does not name this item',
          },
      );
      call = { state: outcomes.every((o) => o.outcome === 'unknown') ? 'unknown' : 'ok', outcome: answers };
    } catch (error) {
      if (
        error instanceof MarketplaceRefusal &&
        !(error.httpStatus !== undefined && (ABOUT_US.has(error.httpStatus) || error.httpStatus >= 500))
      )
        return this.refused(batch, error);
      if (error instanceof MarketplaceRefusal && ABOUT_US.has(error.httpStatus ?? 0)) aboutUs = error.message;
      outcomes = batch.map((b) => failure(b.itemId, error));
      call = { state: outcomes[0]!.outcome === 'unknown' ? 'unknown' : 'refused', outcome: { error: errorText(error) } };
      this.deps.logger.warn(
        { marketplace: adapter.marketplace, items: batch.length, err: errorText(error) },
        'a usage batch was not taken',
      );
    }
    await this.deps.db.ops(async (tx) => {
      await this.deps.calls.end(batch[0]!.callId, call.state, call.outcome, tx);
      await applyOutcomes(tx, this.deps, batch, outcomes);
      if (aboutUs !== null)
        await raiseFindings(tx, this.deps.clock, [credentialsRefused(adapter.marketplace, this.deps.clock.now(), aboutUs)]);
    });
  }

  /** One bad item refuses a whole batch (AWS: one bad time stamp): halve until the culprit stands alone; the rest goes. */
  private async refused(batch: Claimed[], error: MarketplaceRefusal): Promise<void> {
    if (batch.length === 1) {
      await this.deps.db.ops(async (tx) => {
        await this.deps.calls.end(batch[0]!.callId, 'refused', { error: errorText(error) }, tx);
        await applyOutcomes(tx, this.deps, batch, [
          { itemId: batch[0]!.itemId, outcome: 'rejected', code: error.code, detail: error.message },
        ]);
      });
      return;
    }
    const half = Math.ceil(batch.length / 2);
    let first = true;
    for (const part of [batch.slice(0, half), batch.slice(half)]) {
      const again = await this.deps.db.ops(async (tx) => {
        if (first) await this.deps.calls.end(batch[0]!.callId, 'refused', { error: errorText(error) }, tx);
        const mine = await tx.query<{ item_id: string }>(
          `select i.item_id from submission_items i join unnest($1::uuid[], $2::bigint[]) as u(id, f) on i.item_id = u.id and i.fence = u.f where i.settled_at is null order by i.item_id for update of i`,
          [part.map((p) => p.itemId), part.map((p) => p.fence)],
        );
        await tx.query(
          `update submission_attempts set outcome = 'batch_refused', code = $2, outcome_at = $3 where attempt_id = any($1::uuid[]) and outcome is null`,
          [part.map((p) => p.attemptId), error.code, this.deps.clock.now()],
        );
        const ids = new Set(mine.map((m) => m.item_id)); // a fence that moved on belongs to another worker
        const rest = part.filter((p) => ids.has(p.itemId));
        return rest.length === 0
          ? []
          : beginAttempts(tx, this.deps.calls, this.deps.clock.now(), this.deps.options?.submissionLeaseMs ?? DEFAULT_LEASE_MS, rest);
      });
      first = false;
      if (again.length > 0) await this.send(again);
    }
  }
}

/** Past its target it is late already, and at its hard deadline it will be a loss: once a purchase and dimension, while there is time. */
const unbuiltFinding = (item: ItemRow, why: string): NewFinding => ({
  kind: 'usage_unbuilt',
  dedupeKey: `usage_unbuilt:${item.subscription_id}:${item.dimension}`,
  tenantId: item.tenant_id,
  subscriptionId: item.subscription_id,
  dimension: item.dimension,
  hour: item.hour,
  deadline: item.hard_at,
  evidence: { itemId: item.item_id, marketplace: item.marketplace, why: why.slice(0, 500), remedy: `berth doctor ${item.marketplace}` },
});

const failure = (itemId: string, error: unknown): AttemptOutcome =>
  error instanceof MarketplaceBusy
    ? { itemId, outcome: 'busy', detail: errorText(error), retryAfterMs: error.retryAfterMs }
    : error instanceof MarketplaceRefusal
      ? { itemId, outcome: 'busy', detail: errorText(error), retryAfterMs: null }
      : ({ itemId, outcome: 'unknown', detail: errorText(error) } satisfies UsageItemOutcome);

/** Postgres gives numeric text as it was stored; this only makes the number of decimals certain. */
function exactQuantity(r: { quantity: string; decimals: number }): string {
  const { digits, scale } = parseDecimal(r.quantity);
  return quantaText((digits * 10n ** BigInt(r.decimals)) / 10n ** BigInt(scale), r.decimals);
}
