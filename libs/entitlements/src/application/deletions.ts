import { sha256Hex, type Tx } from '#platform';
import type { FulfillmentEvent, Marketplace, SubscriptionTruth } from '#marketplaces/core';
import { inBase64 } from '../domain/in-base64.js';
import { isOver, isTerminal } from '../domain/subscription-states.js';
import { SubscriptionRecord } from '../infra/subscription.record.js';
import { lockRecord } from '../infra/subscription-rows.js';

/**
 * What is gone after its deletion was announced, or after its end was told by a marketplace that purges its record some time
 * later, has ended (contract gcp §3). Gone without such a message says nothing, and null is answered.
 */
export function endOfDeleted(record: SubscriptionRecord, event: FulfillmentEvent): SubscriptionTruth | null {
  if (event.kind !== 'data_deletion_due' && !event.deletedThere) return null;
  return {
    ...record.truth,
    state: 'ended',
    endsAt: record.endsAt,
    refs: record.marketplaceRefs,
    version: record.truthVersion,
    observedAt: new Date(Math.max(event.occurredAt.getTime(), new Date(record.truth.observedAt).getTime())),
  };
}

/** What else a fact calls for: serving a buyer who signed up before, and deleting what is kept of one who is gone. */
export function callFor(
  event: FulfillmentEvent,
  truth: SubscriptionTruth,
  record: SubscriptionRecord,
  changes: string[],
  now: Date,
): string[] {
  const types: string[] = [];
  if (truth.buyerReady && record.state === 'pending_fulfillment' && !record.tenantId) {
    changes.push('its buyer signed up before');
    types.push('subscription.needs_tenant');
  }
  if (event.kind === 'data_deletion_due' && isOver(record.state) && !record.dataDeletionDueAt) {
    record.dataDeletionDueAt = now;
    changes.push('data deletion due');
    types.push('subscription.data_deletion_due');
  }
  return types;
}

/** Stands for a buyer in what is kept for the books; made of our own id, so it leads back to nobody. */
export const pseudonymOf = (subscriptionId: string): string => `erased-${sha256Hex(subscriptionId).slice(0, 16)}`;

/**
 * Takes the buyer out of everything that is kept of a purchase: landings, names, parties, the account id in truth, refs, messages
 * and calls. Segments, usage records, items, ledger and findings stay; they name the purchase and the tenant by ids only.
 * Answers the tenant if no other purchase of his is left that needs him.
 */
export async function erasePurchase(tx: Tx, subscriptionId: string, now: Date): Promise<{ erased: boolean; tenantId: string | null }> {
  const record = await lockRecord(tx, subscriptionId);
  if (!record || record.erasedAt || !isTerminal(record.state)) return { erased: false, tenantId: null };
  const pseudonym = pseudonymOf(subscriptionId);
  const personal = personalTexts(record);
  const without = <T>(value: T): T => JSON.parse(replaceAll(JSON.stringify(value), personal, pseudonym)) as T;
  const party = { email: null, personId: null, directoryId: null, accountId: pseudonym };
  record.truth = { ...without(record.truth), name: null, purchaser: party, beneficiary: party };
  record.marketplaceRefs = without(record.marketplaceRefs);
  record.name = null;
  record.buyerAccountId = pseudonym;
  record.erasedAt = now;
  record.updatedAt = now;
  await tx.manager.save(SubscriptionRecord, record);
  await tx.query(
    `update landing_sessions set details = null, signed_in = null, visitor_hash = null, token_hash = $2, expires_at = $3 where subscription_id = $1`,
    [subscriptionId, pseudonym, now],
  );
  await tx.query(
    'update claims set claimant = null where subscription_id = $1 or session_hash in (select session_hash from landing_sessions where subscription_id = $1)',
    [subscriptionId],
  );
  // What is kept of another purchase of his, which the marketplace still has, is not this one's to take away.
  const [kept] = await tx.query(
    'select 1 from subscriptions where marketplace = $1 and buyer_account_id = any($2::text[]) and subscription_id <> $3 and erased_at is null limit 1',
    [record.marketplace, personal, subscriptionId],
  );
  if (kept) await eraseFromInbox(tx, personal, pseudonym, subscriptionId);
  else await eraseBuyer(tx, record.marketplace, personal, pseudonym);
  for (const text of personal) {
    await tx.query(
      `update calls set intent = replace(intent::text, $2, $3)::jsonb, outcome = replace(outcome::text, $2, $3)::jsonb
        where subscription_id = $1 and (position($2 in intent::text) > 0 or position($2 in coalesce(outcome::text, '')) > 0)`,
      [subscriptionId, text, pseudonym],
    );
  }
  if (!record.tenantId) return { erased: true, tenantId: null };
  const [other] = await tx.query(
    `select 1 from subscriptions where tenant_id = $1 and subscription_id <> $2 and erased_at is null and state not in ('cancelled', 'voided')`,
    [record.tenantId, subscriptionId],
  );
  return { erased: true, tenantId: other ? null : record.tenantId };
}

/**
 * Takes a buyer of whom no purchase is kept out of the sign-ups and the stored messages. `names`: the texts by which the marketplace
 * names him.
 */
export async function eraseBuyer(tx: Tx, marketplace: Marketplace, names: readonly string[], pseudonym: string): Promise<void> {
  await tx.query('delete from buyer_sign_ups where marketplace = $1 and buyer_account_id = any($2::text[])', [marketplace, names]);
  await eraseFromInbox(tx, names, pseudonym, null);
}

/** Of one purchase's messages only, or of all. A message that holds a name in Base64 (a pushed envelope) is emptied as a whole. */
async function eraseFromInbox(tx: Tx, names: readonly string[], pseudonym: string, subscriptionId: string | null): Promise<void> {
  const emptied = JSON.stringify({ erased: pseudonym });
  for (const text of names) {
    await tx.query(
      `update inbox set body = replace(body, $1, $2), natural_key = replace(natural_key, $1, $2)
        where position($1 in body) > 0 and ($3::uuid is null or subscription_id = $3)`,
      [text, pseudonym, subscriptionId],
    );
    await tx.query(
      `update inbox set body = $1 where ($2::uuid is null or subscription_id = $2)
          and exists (select 1 from unnest($3::text[]) as hidden where position(hidden in body) > 0)`,
      [emptied, subscriptionId, inBase64(text)],
    );
  }
}

/** The texts by which a marketplace names the buyer of this purchase; short ones would hit what is not his. */
function personalTexts(record: SubscriptionRecord): string[] {
  const parties = [record.truth.purchaser, record.truth.beneficiary];
  const texts = [record.buyerAccountId, ...parties.flatMap((p) => [p?.email, p?.personId, p?.accountId])];
  return [...new Set(texts.filter((t): t is string => typeof t === 'string' && t.length >= 8))];
}

const replaceAll = (text: string, from: readonly string[], to: string): string =>
  from.reduce((cleaned, one) => cleaned.split(one).join(to), text);
