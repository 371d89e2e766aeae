import { errorText, mayPass, ProblemError, realNow, type Tx } from '#platform';
import { MARKETPLACES } from '#marketplaces/core';
import { fromUs } from '../domain/units.js';
import { writeEntries } from '../infra/write-ledger.js';
import { OPEN_ITEM, type OpenItem } from '../infra/items.sql.js';
import type { MeteringDeps } from './deps.js';
import { raiseFindings, type NewFinding } from './findings.js';
import { lossFindingOf, unknownFinding } from './item-findings.js';
import { setApart } from './set-apart.js';
import { learnHour } from './usual-guard.js';

/**
 * What missed its hard deadline is a named loss, never re-dated (money.md "Month end"); what may have been taken stays unknown. An item
 * of which that cannot be written is a finding, and keeps no other from being named.
 */
export async function expireItems(deps: MeteringDeps): Promise<number> {
  let items: OpenItem[] = [];
  try {
    return await deps.db.ops(async (tx) => {
      items = await overdueItems(tx, deps, null);
      return expire(tx, deps, items);
    });
  } catch (error) {
    if (mayPass(error) || items.length === 0) throw error;
    const ids = items.map((i) => i.item_id);
    const { done, culprits } = await setApart(ids, (some) =>
      deps.db.ops(async (tx) => expire(tx, deps, await overdueItems(tx, deps, some))),
    );
    await deps.db.ops((tx) => tellBlocked(tx, deps, items, culprits));
    return done;
  }
}

/** Some of those whose hard deadline has passed, locked; `only`: of these, null: of all. */
function overdueItems(tx: Tx, deps: MeteringDeps, only: readonly string[] | null): Promise<OpenItem[]> {
  return tx.query<OpenItem>(
    `${OPEN_ITEM} where i.settled_at is null and i.marketplace = any($3::text[]) and i.hard_at <= $1 and (i.lease_until is null or i.lease_until < $2)
        and not (i.state = 'unknown' and exists (select 1 from findings f where f.dedupe_key = 'unknown_outcome:' || i.item_id || ':' || i.attempts))
        and ($4::uuid[] is null or i.item_id = any($4::uuid[]))
      order by i.hard_at, i.item_id limit 500 for update of i skip locked`,
    [deps.clock.now(), realNow(), MARKETPLACES, only],
  );
}

/** Once an item, until a person says that its cause is mended; it is tried again at each sweep. */
async function tellBlocked(tx: Tx, deps: MeteringDeps, items: OpenItem[], culprits: ReadonlyMap<string, unknown>): Promise<void> {
  const blocked = items.filter((i) => culprits.has(i.item_id));
  for (const { item_id: item } of blocked)
    deps.logger.error({ item, err: errorText(culprits.get(item)) }, 'an item past its deadline cannot be given its outcome');
  await raiseFindings(
    tx,
    deps.clock,
    blocked.map((i) => ({
      kind: 'lane_parked',
      dedupeKey: `item_blocked:${i.item_id}`,
      again: true,
      tenantId: i.tenant_id,
      subscriptionId: i.subscription_id,
      hour: fromUs(BigInt(i.hour_us)),
      evidence: { itemId: i.item_id, meter: i.meter, reason: errorText(culprits.get(i.item_id)) },
    })),
  );
}

async function expire(tx: Tx, deps: MeteringDeps, items: OpenItem[]): Promise<number> {
  const now = deps.clock.now();
  const findings: NewFinding[] = [];
  for (const item of items) {
    const open = await tx.query(
      `update submission_attempts set outcome = 'unknown', code = 'answer_lost', outcome_at = $2 where item_id = $1 and outcome is null returning 1`,
      [item.item_id, now],
    );
    if (item.unsure || open.length > 0) {
      await tx.query(`update submission_items set state = 'unknown', lease_until = null where item_id = $1`, [item.item_id]);
      findings.push(unknownFinding(item, item.last_code ?? 'answer_lost'));
      continue;
    }
    const quarantined = item.hold_reason === 'quarantined' || item.last_code === 'refused_alone';
    const cause = quarantined
      ? 'quarantined'
      : item.hold_reason === 'suspended' || (item.state === 'deferred' && item.last_code !== 'references_missing')
        ? 'suspended_unbillable'
        : 'expired';
    const base = BigInt(item.base_quantity);
    const series = { subscriptionId: item.subscription_id, meter: item.meter, tenantId: item.tenant_id };
    const row = { series, hour: BigInt(item.hour_us), segmentId: item.segment_id, cause, ref: item.item_id };
    if (base !== 0n)
      await writeEntries(
        tx,
        [
          { ...row, term: 'pending', quantity: -base },
          { ...row, term: 'loss', quantity: base },
        ],
        now,
        'outside',
      );
    await tx.query(
      `update submission_items set state = 'expired', last_code = coalesce(last_code, 'deadline'), settled_at = $2, lease_until = null where item_id = $1`,
      [item.item_id, now],
    );
    if (base !== 0n && !(quarantined && (await isTold(tx, item))))
      findings.push(lossFindingOf(item, cause, base, { lastCode: item.last_code, heldFor: item.hold_reason }));
  }
  await raiseFindings(tx, deps.clock, findings);
  return items.length;
}

/** A quarantine has told of its loss before it happened; one that nobody has settled is this loss's finding. */
async function isTold(tx: Tx, item: OpenItem): Promise<boolean> {
  const open = await tx.query(
    `select 1 from findings where subscription_id = $1 and kind = 'loss.quarantined' and settlement is null and evidence ->> 'itemId' = $2`,
    [item.subscription_id, item.item_id],
  );
  return open.length > 0;
}

/** A person lets a held item go; it is sent with its own hour if the window is still open. */
export async function releaseHeld(tx: Tx, deps: MeteringDeps, itemId: string): Promise<void> {
  const rows = await tx.query(
    `update submission_items set state = 'pending', hold_reason = null, next_attempt_at = $2 where item_id = $1 and state = 'held' returning 1`,
    [itemId, deps.clock.now()],
  );
  if (rows.length === 0) throw new ProblemError('conflict', 'submission.not_held', 'this item is not held');
  await learnHour(tx, itemId);
}
