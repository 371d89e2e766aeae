import {
  type FulfillmentEvent,
  type Marketplace,
  type MarketplaceAdapter,
  MarketplaceRefusal,
  MarketplaceUnreadable,
  type MarketplaceRefs,
  type RecallRefs,
  type StoredInbound,
  type SubscriptionTruth,
} from '#marketplaces/core';
import { eraseBuyer, meetAt, pseudonymOf, recordNotice, subscriptionIdOf, subscriptionLane, type ApplyOutcome } from '#entitlements';
import type { TaskContext, Tx } from '#platform';
import { awaitMissing } from './await-missing.js';
import { awaitStart } from './await-start.js';
import type { ProcessContext } from './context.js';
import { decideChange, wantedChange } from './decide-change.js';
import { awaitSuccessor, holdUsage } from './end-purchase.js';
import { foldAdjustment } from './fold-adjustment.js';
import { followForeignChange } from './follow-foreign-change.js';
import { proposeJoins } from './propose-joins.js';
import { isAboutUs } from './refused-credentials.js';
import { bookWord } from './tell-buyer.js';

/** Task `inbound.normalise`: one stored message becomes facts, applied under the purchase's lane. No transaction is open across HTTP. */
export async function normaliseInbound(
  p: ProcessContext,
  payload: { inboxId: string; marketplace: Marketplace },
  task: TaskContext,
): Promise<void> {
  const row = await p.db.ops((tx) => p.inbox.load(tx, payload.inboxId));
  if (row.state === 'processed') return;
  const adapter = p.marketplaces.get(payload.marketplace);
  const refused = await answerHandshake(p, adapter, row, payload.marketplace);
  const facts = await adapter.normalise(row, recall(p, payload.marketplace)).catch((error: unknown) => {
    if (error instanceof MarketplaceUnreadable) return error;
    throw error;
  });
  if (facts instanceof MarketplaceUnreadable) return parkUnreadable(p, payload, facts, task);
  const events = await toldOfEach(p, adapter, facts);
  await p.db.ops(async (tx) => {
    let last: ApplyOutcome | null = null;
    let waits: string | null = null;
    for (const event of events) {
      // The truth first: a change that the marketplace allows must not be refused because our state lags behind.
      last = await applyEvent(p, tx, event, payload.inboxId);
      await recordNotice(tx, await foldAdjustment(p, tx, event), p.clock.now());
      if (event.channelLost) await raiseLostChannel(p, tx, event, payload.inboxId);
      await followForeignChange(p, tx, event);
      const decision = await decideChange(p, tx, event, last);
      if (decision === 'parked') waits = `waits for plan ${wantedChange(event)!.toExternalPlanId} in the catalog`;
      // Should the sender ask again, it hears what was decided here and not the 200 of a message that asks for nothing.
      else if (decision && adapter.decisionAnswer) await p.inbox.answer(tx, payload.inboxId, adapter.decisionAnswer(decision));
    }
    await p.inbox.mark(tx, payload.inboxId, waits || last?.result === 'parked' ? 'parked' : 'processed', {
      subscriptionId: last?.subscriptionId ?? undefined,
      note: refused ?? waits ?? (!last ? 'nothing to do' : last.result === 'applied' ? last.changes.join(', ') : last.why),
    });
    await forgetBuyers(p, tx, facts, payload.inboxId);
    await task.completeIn(tx);
  });
}

/** Asking again shows the same: the message waits for a person, who has what was shown, and replays it once it can be read. */
async function parkUnreadable(
  p: ProcessContext,
  { inboxId, marketplace }: { inboxId: string; marketplace: Marketplace },
  fault: MarketplaceUnreadable,
  task: TaskContext,
): Promise<void> {
  await p.db.ops(async (tx) => {
    await p.inbox.mark(tx, inboxId, 'parked', { note: fault.message.slice(0, 500) });
    await p.metering.raiseFinding(tx, {
      kind: 'marketplace_stuck',
      dedupeKey: `marketplace_stuck:unreadable:${inboxId}`,
      evidence: { marketplace, inboxId, why: fault.message, view: fault.view, remedy: 'replay the message once what is shown can be read' },
    });
    await task.completeIn(tx);
  });
}

/** A deleted account of which no purchase is kept: nothing else would ever take its sign-up and its messages away. */
async function forgetBuyers(p: ProcessContext, tx: Tx, facts: FulfillmentEvent[], inboxId: string): Promise<void> {
  for (const { kind, marketplace, buyerAccountId } of facts) {
    if (kind !== 'data_deletion_due' || !buyerAccountId) continue;
    if ((await p.subscriptions.ofBuyer(tx, marketplace, buyerAccountId)).length > 0) continue;
    await eraseBuyer(tx, marketplace, [buyerAccountId], pseudonymOf(inboxId));
  }
}

/** A message of a buyer's account is told of each purchase of his, as the marketplace shows it now. */
async function toldOfEach(p: ProcessContext, adapter: MarketplaceAdapter, events: FulfillmentEvent[]): Promise<FulfillmentEvent[]> {
  const told: FulfillmentEvent[] = [];
  for (const { buyerAccountId, ...event } of events) {
    if (!buyerAccountId) {
      told.push(event);
      continue;
    }
    const purchases = await p.db.ops((tx) => p.subscriptions.ofBuyer(tx, event.marketplace, buyerAccountId));
    for (const { externalSubscriptionId, marketplaceRefs } of purchases) {
      const truth = await adapter.readTruth(externalSubscriptionId, marketplaceRefs);
      const isLive = truth !== null && truth.state !== 'ended';
      told.push({ ...event, kind: isLive ? 'noted' : event.kind, externalSubscriptionId, truth });
    }
  }
  return told;
}

const raiseLostChannel = (p: ProcessContext, tx: Tx, { marketplace, channelLost, note }: FulfillmentEvent, inboxId: string) =>
  p.metering.raiseFinding(tx, {
    kind: 'channel_lost',
    dedupeKey: `channel_lost:${inboxId}`,
    evidence: { marketplace, channel: channelLost!.channel, note, remedy: `berth doctor ${marketplace}` },
  });

/** What we keep of a purchase, for an adapter whose read needs it. */
export const recall =
  (p: ProcessContext, marketplace: Marketplace): RecallRefs =>
  (externalSubscriptionId) =>
    p.db.ops(async (tx) => (await p.subscriptions.find(tx, subscriptionIdOf(marketplace, externalSubscriptionId)))?.truth.refs ?? null);

/**
 * Between intent and outcome (law 3). Answers why it was refused; a definite no is not asked for again. Our own credentials are no
 * answer to it: it waits until they are mended, of which a person is told.
 */
async function answerHandshake(
  p: ProcessContext,
  adapter: MarketplaceAdapter,
  row: StoredInbound & { inboxId: string },
  marketplace: Marketplace,
): Promise<string | null> {
  const handshake = adapter.handshake?.(row);
  if (!handshake) return null;
  const { operation, intent, externalSubscriptionId } = handshake;
  const subscriptionId = externalSubscriptionId ? subscriptionIdOf(marketplace, externalSubscriptionId) : undefined;
  try {
    await p.calls.around({ target: marketplace, operation, subject: `inbox:${row.inboxId}`, subscriptionId, intent }, handshake.run);
    return null;
  } catch (error) {
    if (error instanceof MarketplaceRefusal && !isAboutUs(error)) return `${operation} refused: ${error.message}`.slice(0, 500);
    throw error;
  }
}

/** Applies a fact and raises what a person must know. A foreign offer is journalled and left alone. */
export async function applyEvent(p: ProcessContext, tx: Tx, told: FulfillmentEvent, inboxId: string | null): Promise<ApplyOutcome> {
  const event = await complete(p, tx, told);
  if (!event) return { result: 'parked', subscriptionId: null, code: 'gone', why: aliasNote(told) };
  const outcome = await p.subscriptions.apply(tx, event, inboxId);
  if (outcome.subscriptionId && event.truth) {
    await retryParked(p, tx, event);
    const record = await p.subscriptions.get(tx, outcome.subscriptionId);
    await awaitStart(p, tx, record);
    await awaitMissing(p, tx, record);
    await proposeJoins(p, tx, record);
    await bookWord(p, tx, record, 'sign_up');
    if (event.kind === 'superseded') await awaitSuccessor(p, tx, outcome.subscriptionId);
    if (event.truth.successorExpected) await holdUsage(p, tx, outcome.subscriptionId);
  }
  if (outcome.result === 'parked' && outcome.code === 'unmapped_plan') {
    await p.metering.raiseFinding(tx, {
      kind: 'unmapped_plan',
      dedupeKey: `unmapped_plan:${event.marketplace}:${event.externalSubscriptionId}`,
      subscriptionId: outcome.subscriptionId,
      evidence: { marketplace: event.marketplace, externalSubscriptionId: event.externalSubscriptionId, why: outcome.why, inboxId },
    });
  }
  if (event.doubt && outcome.subscriptionId)
    await p.metering.raiseFinding(tx, {
      kind: 'change_in_force',
      dedupeKey: `change_in_force:${event.marketplace}:${event.externalSubscriptionId}:${event.doubt}`,
      subscriptionId: outcome.subscriptionId,
      evidence: { marketplace: event.marketplace, externalSubscriptionId: event.externalSubscriptionId, why: event.doubt, inboxId },
    });
  return outcome;
}

const aliasNote = (event: Pick<FulfillmentEvent, 'alias'>): string =>
  `waits for ${event.alias?.kind ?? 'an id'} ${event.alias?.externalId ?? ''}`;

/** Names the purchase where the message knew only an alias, and merges what it told with what is known. Null: not known yet. */
async function complete(p: ProcessContext, tx: Tx, event: FulfillmentEvent): Promise<FulfillmentEvent | null> {
  let { externalSubscriptionId } = event;
  if (!externalSubscriptionId && event.alias) {
    const known = await namedBy(tx, event.marketplace, event.alias);
    if (!known) return null;
    externalSubscriptionId = known;
  }
  const named = { ...event, externalSubscriptionId };
  const { mergeTruth } = p.marketplaces.get(event.marketplace);
  if (!mergeTruth) return named;
  const subscriptionId = subscriptionIdOf(event.marketplace, externalSubscriptionId);
  await oneMergerAtATime(tx, subscriptionId);
  const record = await p.subscriptions.find(tx, subscriptionId);
  return mergeTruth(record ? reviveTruth(record.truth) : null, named);
}

/**
 * The purchase with this alias; null where none is known. Who finds none parks its message under the lock of the alias, where whoever
 * brings the alias looks for what is parked: of two at once, the second sees what the first has done.
 */
async function namedBy(tx: Tx, marketplace: Marketplace, alias: { kind: string; externalId: string }): Promise<string | null> {
  const look = async (): Promise<string | null> => {
    const [known] = await tx.query<{ external_subscription_id: string }>(
      `select s.external_subscription_id from subscription_aliases a join subscriptions s on s.subscription_id = a.subscription_id
        where a.marketplace = $1 and a.kind = $2 and a.external_id = $3`,
      [marketplace, alias.kind, alias.externalId],
    );
    return known?.external_subscription_id ?? null;
  };
  const known = await look();
  if (known) return known;
  await meetAt(tx, { marketplace, ...alias });
  return look();
}

/** A landing that races a message would otherwise lose the half that the other has just learned. Taken before any row of the purchase. */
export const oneMergerAtATime = (tx: Tx, subscriptionId: string): Promise<unknown> =>
  tx.query('select pg_advisory_xact_lock(hashtextextended($1, 7205315))', [subscriptionId]);

/** A stored truth comes back from JSON with its instants as text. */
function reviveTruth(truth: SubscriptionTruth): SubscriptionTruth {
  const at = (d: Date | null): Date | null => (d === null ? null : new Date(d));
  return {
    ...truth,
    term: { ...truth.term, startsAt: at(truth.term.startsAt), endsAt: at(truth.term.endsAt) },
    endsAt: at(truth.endsAt),
    observedAt: new Date(truth.observedAt),
  };
}

/** A message that waited for an alias is tried again when one of that name is known. */
async function retryParked(p: ProcessContext, tx: Tx, event: FulfillmentEvent): Promise<void> {
  const notes = event.truth!.aliases.map((alias) => aliasNote({ alias }));
  if (notes.length === 0) return;
  const rows = await tx.query<{ inbox_id: string }>(
    `update inbox set state = 'received' where state = 'parked' and note = any($1::text[]) returning inbox_id`,
    [notes],
  );
  for (const row of rows) {
    await p.tasks.enqueue(tx, {
      lane: subscriptionLane(subscriptionIdOf(event.marketplace, event.externalSubscriptionId)),
      handler: 'inbound.normalise',
      payload: { inboxId: row.inbox_id, marketplace: event.marketplace },
    });
  }
}

/** Reads the purchase at its marketplace and applies what is found: after our own calls, and where a message was only a hint. */
export async function rereadTruth(
  p: ProcessContext,
  marketplace: Marketplace,
  externalSubscriptionId: string,
  note: string,
  refs?: MarketplaceRefs,
  from: 'readTruth' | 'askTruth' = 'readTruth',
): Promise<FulfillmentEvent> {
  const adapter = p.marketplaces.get(marketplace);
  const truth = await (from === 'askTruth' && adapter.askTruth
    ? adapter.askTruth(externalSubscriptionId, refs)
    : adapter.readTruth(externalSubscriptionId, refs));
  return { kind: 'changed', marketplace, externalSubscriptionId, occurredAt: p.clock.now(), truth, note };
}
