import type { Clock, Tasks, Tx } from '#platform';
import type { Marketplace } from '#marketplaces/core';
import { isOver, nextState } from '../domain/subscription-states.js';
import { currentSegment } from '../infra/segments.sql.js';
import { SubscriptionRecord } from '../infra/subscription.record.js';
import { alignSegments, cutAt } from './cuts.js';
import { endRights } from './rights.js';

/**
 * - `taken`: the successor has the predecessor's tenant (null: it had none yet; its landings are the successor's now) and
 *   counts from `at`, where the predecessor's last segment ends.
 * - `waits`: licensed already, but it starts later.
 * - `none`: there is nothing to take over, or nothing that may be.
 */
export type TakeOver =
  | { result: 'taken'; predecessorId: string; tenantId: string | null; at: Date }
  | { result: 'waits'; until: Date }
  | { result: 'none'; why: string };

type Id = { marketplace: Marketplace; kind: string; externalId: string };

/**
 * Who links an id and who asks for it wait for each other here: of two messages at once, the later one sees what the earlier
 * one committed, so the link between a renewal and its predecessor is found by one of them.
 */
export const meetAt = (tx: Tx, id: Id): Promise<unknown> =>
  tx.query('select pg_advisory_xact_lock(hashtextextended($1, 7205316))', [`${id.marketplace}/${id.kind}/${id.externalId}`]);

/**
 * Purchases that name the one of this id as their predecessor: those that wait for it in order to take its place, and those that
 * were registered for themselves meanwhile, of which a person is told.
 */
export async function waitingFor(tx: Tx, id: Id, tenantId: string | null): Promise<string[]> {
  const rows = await tx.query<{ subscription_id: string }>(
    `select subscription_id from subscriptions where marketplace = $1 and truth #>> '{supersedes,kind}' = $2 and truth #>> '{supersedes,externalId}' = $3
        and ((tenant_id is null and state in ('scheduled', 'pending_fulfillment'))
          or (tenant_id <> $4::uuid and state in ('pending_fulfillment', 'active', 'suspended'))) order by subscription_id`,
    [id.marketplace, id.kind, id.externalId, tenantId],
  );
  return rows.map((r) => r.subscription_id);
}

/** The purchase that this one names as its predecessor, if it is known. */
export async function predecessorOf(tx: Tx, subscriptionId: string): Promise<SubscriptionRecord | null> {
  const [row] = await tx.query<{ subscription_id: string }>(
    `select a.subscription_id from subscriptions s join subscription_aliases a
         on a.marketplace = s.marketplace and a.kind = s.truth #>> '{supersedes,kind}' and a.external_id = s.truth #>> '{supersedes,externalId}'
      where s.subscription_id = $1 and a.subscription_id <> s.subscription_id`,
    [subscriptionId],
  );
  return row ? tx.manager.findOneBy(SubscriptionRecord, { subscriptionId: row.subscription_id }) : null;
}

/** A purchase that is not over names this one as its predecessor. */
export async function isFollowed(tx: Tx, subscriptionId: string): Promise<boolean> {
  const rows = await tx.query(
    `select 1 from subscription_aliases a join subscriptions s
         on s.marketplace = a.marketplace and s.truth #>> '{supersedes,kind}' = a.kind and s.truth #>> '{supersedes,externalId}' = a.external_id
      where a.subscription_id = $1 and s.subscription_id <> $1 and s.state not in ('closing', 'cancelled', 'voided') limit 1`,
    [subscriptionId],
  );
  return rows.length > 0;
}

/** The newest purchase of the chain of renewals that this one is in. */
export async function successorOf(tx: Tx, subscriptionId: string): Promise<string> {
  const [row] = await tx.query<{ subscription_id: string }>(
    `with recursive chain as (select subscription_id, superseded_by from subscriptions where subscription_id = $1
       union select s.subscription_id, s.superseded_by from subscriptions s join chain c on s.subscription_id = c.superseded_by)
     select subscription_id from chain where superseded_by is null`,
    [subscriptionId],
  );
  return row?.subscription_id ?? subscriptionId;
}

/**
 * Whose a visit of this purchase is: of the newest in its place; and of a renewal that has not taken over yet, of the purchase
 * that serves its buyer meanwhile, so that he is asked for no details again and gets no second tenant (contract aws §11.1).
 */
export async function visitedAs(tx: Tx, subscriptionId: string): Promise<string> {
  const newest = await successorOf(tx, subscriptionId);
  const [row] = await tx.query<{ subscription_id: string }>(
    `select o.subscription_id from subscriptions s
       cross join lateral jsonb_array_elements(s.truth -> 'follows') with ordinality as f(id, nth)
       join subscription_aliases a on a.marketplace = s.marketplace and a.kind = f.id ->> 'kind' and a.external_id = f.id ->> 'externalId'
       join subscriptions o on o.subscription_id = a.subscription_id
      where s.subscription_id = $1 and s.tenant_id is null and s.state in ('scheduled', 'pending_fulfillment') and o.subscription_id <> s.subscription_id
        and o.tenant_id is not null and o.superseded_by is null and o.buyer_account_id = s.buyer_account_id
        and (o.state in ('pending_fulfillment', 'active', 'suspended') or (o.state = 'closing' and o.truth ->> 'successorExpected' = 'true'))
      order by f.nth limit 1`,
    [newest],
  );
  return row?.subscription_id ?? newest;
}

/**
 * The purchase before `subscriptionId` in the chain that the marketplace tells of `successorId`. A renewal that was replaced before
 * anything but its end was told does not name whom it followed itself.
 */
async function toldBefore(tx: Tx, successorId: string, subscriptionId: string): Promise<SubscriptionRecord | null> {
  const [row] = await tx.query<{ subscription_id: string }>(
    `with chain as (select a.subscription_id, f.nth from subscriptions s
         cross join lateral jsonb_array_elements(s.truth -> 'follows') with ordinality as f(id, nth)
         join subscription_aliases a on a.marketplace = s.marketplace and a.kind = f.id ->> 'kind' and a.external_id = f.id ->> 'externalId'
        where s.subscription_id = $1)
     select subscription_id from chain where subscription_id <> $2 and nth > (select max(nth) from chain where subscription_id = $2) order by nth limit 1`,
    [successorId, subscriptionId],
  );
  return row ? tx.manager.findOneBy(SubscriptionRecord, { subscriptionId: row.subscription_id }) : null;
}

/**
 * From the nearest predecessor that has something to give down to the successor's own: a licence that was replaced before its
 * buyer landed hands on nothing of its own. The first one is whose place this one takes, or took.
 */
export async function ancestorsOf(tx: Tx, successorId: string): Promise<string[]> {
  const ids: string[] = [];
  for (let id = successorId; ids.length < 20;) {
    const one = (await predecessorOf(tx, id)) ?? (id === successorId ? null : await toldBefore(tx, successorId, id));
    if (!one || one.subscriptionId === successorId || ids.includes(one.subscriptionId)) break;
    ids.unshift(one.subscriptionId);
    if (one.tenantId) break;
    id = one.subscriptionId;
  }
  return ids;
}

const fullHour = (ms: number): Date => new Date(Math.ceil(ms / 3_600_000) * 3_600_000);

/** Nothing of it is cut before this instant: its end, else the start of what counts now. */
async function beganAt(tx: Tx, old: SubscriptionRecord): Promise<number> {
  if (isOver(old.state)) return old.endedAt?.getTime() ?? 0;
  const segment = await currentSegment(tx, old.subscriptionId);
  // A cut lies a millisecond after it.
  return segment ? segment.startsAt.getTime() + 1 : 0;
}

const lock = (tx: Tx, subscriptionId: string): Promise<SubscriptionRecord | null> =>
  tx.manager.findOne(SubscriptionRecord, { where: { subscriptionId }, lock: { mode: 'pessimistic_write' } });

/**
 * A licensed renewal takes its predecessor's place: the tenant is its own now, and at one instant the predecessor's segments end
 * and its own begin. The instant is the successor's start; not in the future, not before the predecessor's segment has lasted a
 * millisecond, not before `notBefore` (what is reported already stays where it was reported), and where the predecessor has
 * ended already, not before its end. A successor whose quantity is not told keeps its predecessor's.
 */
export async function takeOver(tx: Tx, on: { clock: Clock; tasks: Tasks }, successorId: string, notBefore: Date | null): Promise<TakeOver> {
  const none = (why: string): TakeOver => ({ result: 'none', why });
  const chain = await ancestorsOf(tx, successorId);
  if (chain.length === 0) return none('its predecessor is not known');
  // A landing locks its session before its purchase; oldest purchase first: everybody locks in one order.
  await tx.query('select 1 from landing_sessions where subscription_id = any($1::uuid[]) order by session_hash for update', [chain]);
  const locked: SubscriptionRecord[] = [];
  for (const id of chain) locked.push((await lock(tx, id))!);
  // While this waited for the locks, one of the links may have taken over itself: then the place is with that one.
  const olds = locked.slice(
    Math.max(
      0,
      locked.findLastIndex((one) => one.tenantId !== null),
    ),
  );
  const next = (await lock(tx, successorId))!;
  const old = olds[0]!;
  const now = on.clock.now();
  if (next.tenantId || isOver(next.state) || next.supersededBy)
    return none(`it is ${next.state} and has a place of its own, or none any more`);
  // An id in a message alone proves nothing: the buyer must be the same (contract aws §11.1).
  if (olds.some((o) => !o.buyerAccountId || o.buyerAccountId !== next.buyerAccountId)) return none('the predecessor is of another buyer');
  const isInChain = (o: SubscriptionRecord, i: number): boolean => o.supersededBy === (olds[i + 1]?.subscriptionId ?? successorId);
  if (olds.some((o, i) => o.supersededBy && !isInChain(o, i))) return none('another purchase has taken its place');
  const { wholeHoursFrom } = next.truth.supersedes ?? {};
  const starts = wholeHoursFrom ?? next.termStartsAt ?? next.truth.term.startsAt;
  let wanted = starts ? new Date(starts) : now;
  // Both are reported under one key: a second record of an hour would be refused.
  if (wholeHoursFrom) wanted = fullHour(Math.max(wanted.getTime(), await beganAt(tx, old)));
  if (wanted > now) return { result: 'waits', until: wanted };
  const floor = Math.min(now.getTime(), notBefore?.getTime() ?? 0);
  let at = await cutAt(tx, old.subscriptionId, new Date(Math.max(wanted.getTime(), floor)), now);
  if (isOver(old.state)) at = new Date(Math.max(wanted.getTime(), (old.endedAt ?? now).getTime()));
  for (const [i, one] of olds.entries()) await end(tx, on, one, olds[i + 1]?.subscriptionId ?? successorId, at);
  next.tenantId = old.tenantId;
  // Not told (yet) is not one: the place is not made smaller for want of an answer.
  if (next.quantity === null && next.externalPlanId === old.externalPlanId) next.quantity = old.quantity;
  next.updatedAt = now;
  await tx.manager.save(SubscriptionRecord, next);
  await tx.query('update landing_sessions set subscription_id = $2 where subscription_id = any($1::uuid[])', [chain, successorId]);
  if (next.tenantId) await publish(tx, on.tasks, 'subscription.tenant_bound', next);
  return { result: 'taken', predecessorId: old.subscriptionId, tenantId: next.tenantId, at };
}

/** The predecessor ends as any other does, but nothing of it is torn down: its place is the successor's. */
async function end(tx: Tx, on: { clock: Clock; tasks: Tasks }, old: SubscriptionRecord, by: string, at: Date): Promise<void> {
  const now = on.clock.now();
  old.supersededBy = by;
  old.updatedAt = now;
  if (!isOver(old.state)) {
    old.state = nextState(old.state, 'end')!;
    old.suspendedSource = null;
    old.endedAt = at;
    if (old.state === 'closing' && !(await currentSegment(tx, old.subscriptionId))) old.state = 'cancelled';
    await alignSegments(tx, old, at, now);
    await endRights(tx, old.subscriptionId, at);
  }
  await tx.manager.save(SubscriptionRecord, old);
  await publish(tx, on.tasks, 'subscription.superseded', old);
}

const publish = (tx: Tx, tasks: Tasks, type: string, record: SubscriptionRecord): Promise<void> =>
  tasks.publish(tx, {
    type,
    lane: `subscription:${record.subscriptionId}`,
    payload: { subscriptionId: record.subscriptionId, tenantId: record.tenantId },
  });
