import { setTimeout as delay } from 'node:timers/promises';
import { errorText, type Tx } from '#platform';
import { MarketplaceRefusal, type Marketplace } from '#marketplaces/core';
import { readMeteredSubscriptions } from '#entitlements';
import { DeadlineQueue } from '../domain/deadline-queue.js';
import { InFlight } from '../domain/in-flight.js';
import { quantaText, parseDecimal } from '../domain/units.js';
import { readSplit } from '../infra/cost-split.sql.js';
import { Gates } from '../infra/gates.sql.js';
import {
  batchMates,
  beginAttempts,
  headItem,
  loseOpenAttempts,
  nextDeadline,
  OPEN_ITEM,
  storeWire,
  type Claimed,
  type ItemRow,
  type OpenItem,
} from '../infra/items.sql.js';
import { tryBuild } from '../infra/write-records.js';
import { rateOf, type MeteringDeps } from './deps.js';
import { expireItems } from './expire-items.js';
import { credentialsRefused, raiseFindings, type NewFinding } from './findings.js';
import { leaseOf, SendBatch } from './send-batch.js';
import { unknownFinding } from './item-findings.js';
import { settleClosing } from './settle.js';

const BATCHES_PER_PASS = 200;
/** Of one marketplace at once, while it answers; one that does not is asked with one at a time. */
const BATCHES_AT_ONCE = 4;
/** Transactions of all marketplaces' passes at once: the rest of the pool is for closing hours and for people. */
const WORKS_AT_ONCE = 2;
/** A longer wait for the next token is left to the next pass. */
const LONGEST_WAIT_MS = 2_000;

/** What a claim found: a batch with its intent; nothing (yet) at the head; a token that is not there yet; or nothing due. */
type Claim = { kind: 'batch'; batch: Claimed[] } | { kind: 'put_back' } | { kind: 'wait'; ms: number } | { kind: 'none' };

/**
 * Sends what is due: earliest hard deadline first, intent before and outcome after, bytes stored once (architecture §5.10).
 * Each marketplace has passes of its own, one at a time: a slow one delays neither the others nor the closing of hours. What the
 * passes share, the database, goes by hard deadline over all marketplaces.
 */
export class SubmitDue {
  private readonly passes = new Map<Marketplace, Promise<number>>();
  private readonly turns = new DeadlineQueue(WORKS_AT_ONCE);
  private readonly gates: Gates;
  private readonly sender: SendBatch;

  constructor(private readonly deps: MeteringDeps) {
    this.gates = new Gates(deps.clock, deps.options?.realNow);
    this.sender = new SendBatch(deps, this.gates, this.turns);
  }

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
    let deadline: Date | null = await this.deps.db.ops((tx) => nextDeadline(tx, this.deps.clock.now(), marketplace));
    if (deadline === null) return 0;
    await this.prepare(marketplace);
    const flight = new InFlight(BATCHES_AT_ONCE);
    try {
      for (let n = 0; n < BATCHES_PER_PASS; n++) {
        await flight.untilRoom();
        const claim: Claim = await this.turns.run(deadline, () => this.deps.db.ops((tx) => this.claim(tx, marketplace)));
        if (claim.kind === 'put_back') done += 1;
        else if (claim.kind === 'batch') {
          deadline = claim.batch[0]!.hardAt;
          done += claim.batch.length;
          flight.start(() => this.sender.run(claim.batch));
        } else if (claim.kind === 'wait' && claim.ms <= LONGEST_WAIT_MS) await flight.untilOne([delay(claim.ms)]);
        // What is under way may be due again, or let more through, once it is answered.
        else if (flight.size > 0) await flight.untilOne();
        else break;
      }
    } finally {
      await flight.untilNone();
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

  private async claim(tx: Tx, marketplace: Marketplace): Promise<Claim> {
    const now = this.deps.clock.now();
    const head = await headItem(tx, now, marketplace, await this.gates.standing(tx, marketplace));
    if (!head) return { kind: 'none' };
    const adapter = this.deps.marketplaces.get(head.marketplace);
    let { wire, batch_key: batchKey, gate } = head;
    if (!wire || !batchKey) {
      const [subscription] = await readMeteredSubscriptions(tx, { subscriptionIds: [head.subscription_id] });
      const parts = await readSplit(tx, head.record_id);
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
              ...(parts ? { parts } : {}),
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
        return { kind: 'put_back' };
      }
      ({ wire, batchKey, gate } = built);
      await storeWire(tx, head.item_id, wire, batchKey, gate);
    }
    const mates = adapter.usage.batchSize > 1 ? await batchMates(tx, now, head, batchKey, adapter.usage.batchSize - 1) : [];
    const rows = await this.sendable(tx, [{ ...head, wire }, ...mates], now, adapter.usage.safeResend);
    if (rows.length === 0) return { kind: 'put_back' };
    const rate = rateOf(this.deps, adapter);
    const entry = await this.gates.enter(tx, { marketplace, gate, hardAt: head.hard_at, rate, leaseMs: leaseOf(this.deps) });
    // Shut since we looked (it was built only now, or another worker failed or probes): the next look leaves it out.
    if (entry.admission === 'no') return { kind: 'put_back' };
    if (entry.waitMs > 0) return { kind: 'wait', ms: entry.waitMs };
    const items = rows.map((r) => ({
      itemId: r.item_id,
      tenantId: r.tenant_id,
      subscriptionId: r.subscription_id,
      marketplace: r.marketplace,
      wire: r.wire!,
      gate,
      hardAt: r.hard_at,
    }));
    return { kind: 'batch', batch: await beginAttempts(tx, this.deps.calls, now, leaseOf(this.deps), items) };
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

/** Postgres gives numeric text as it was stored; this only makes the number of decimals certain. */
function exactQuantity(r: { quantity: string; decimals: number }): string {
  const { digits, scale } = parseDecimal(r.quantity);
  return quantaText((digits * 10n ** BigInt(r.decimals)) / 10n ** BigInt(scale), r.decimals);
}
