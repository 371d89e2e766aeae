import { sha256Hex, ProblemError, type Sealer } from '#platform';
import { MarketplaceBusy, type LandingResolution, type Marketplace } from '#marketplaces/core';
import { awaitsJoin } from '#entitlements';
import { applyEvent, recall } from './normalise-inbound.js';
import type { ProcessContext } from './context.js';
import { alarmIfAboutUs } from './refused-credentials.js';
import { rememberSignUp } from './sign-up-buyer.js';

const MAX_TOKEN = 8_192;

/** What the marketplace does not know, or not as ours. */
const NOT_A_TOKEN = new Set(['landing.token_invalid', 'landing.token_expired', 'landing.not_for_us']);

export type LandingOpened = { ok: true; sessionId: string } | { ok: false; code: string; detail: string };

/**
 * A buyer arrives. The token is stored (sealed) before anything is done with it, resolved at once, then erased: only its
 * hash stays. Reload and "Manage account" open a new session of the same purchase.
 */
export async function openLanding(
  p: ProcessContext,
  sealer: Sealer,
  marketplace: Marketplace,
  tokenField: string,
  given: Record<string, string>,
): Promise<LandingOpened> {
  // Blanks around it are no other token: its hash is how it is known again.
  const token = (given[tokenField] ?? '').trim();
  const fields = { ...given, [tokenField]: token };
  if (!token) return { ok: false, code: 'landing.token_missing', detail: 'The address holds no purchase token.' };
  if (!p.marketplaces.has(marketplace))
    throw new ProblemError('not_found', 'landing.not_configured', `This installation does not sell on ${marketplace}.`);
  if (token.length > MAX_TOKEN) {
    await p.inbox.refuse(`${marketplace}.landing`, 'landing.token_invalid', `a token of ${token.length} characters`, {}, '');
    return { ok: false, code: 'landing.token_invalid', detail: 'The purchase token is not one of this marketplace.' };
  }
  const { inboxId } = await p.db.ops((tx) =>
    p.inbox.receive(tx, {
      source: `${marketplace}.landing`,
      naturalKey: sha256Hex(token),
      contentType: 'text/plain',
      headers: {},
      body: sealer.seal(token, 'landing.token'),
      principal: 'landing visitor',
    }),
  );
  const close = (note: string): Promise<unknown> =>
    p.db.ops((tx) => tx.query(`update inbox set body = '', state = 'processed', note = $2 where inbox_id = $1`, [inboxId, note]));
  let resolution: LandingResolution;
  try {
    resolution = await p.marketplaces.get(marketplace).resolveLanding(fields, recall(p, marketplace));
  } catch (error) {
    // Nothing comes back to it later: the buyer opens the page again.
    if (!(error instanceof MarketplaceBusy)) {
      await close('internal; token erased');
      throw error;
    }
    resolution = { ok: false, code: 'landing.unavailable', detail: 'The marketplace does not answer just now.' };
  }
  if (!resolution.ok) {
    const { signedUp } = resolution;
    if (signedUp) await p.db.ops((tx) => rememberSignUp(p, tx, { marketplace, buyerAccountId: signedUp.buyerAccountId }));
    if (resolution.refusal) await alarmIfAboutUs(p, marketplace, resolution.refusal);
    if (NOT_A_TOKEN.has(resolution.code)) {
      // Whoever made it up leaves a line in the capped table and no row for ever.
      await p.db.ops((tx) => tx.query(`delete from inbox where inbox_id = $1 and subscription_id is null`, [inboxId]));
      await p.inbox.refuse(`${marketplace}.landing`, resolution.code, resolution.detail, {}, '');
    } else await close(resolution.code);
    return { ok: false, code: resolution.code, detail: resolution.detail };
  }
  const { truth, visitor } = resolution;
  return p.db.ops(async (tx): Promise<LandingOpened> => {
    const outcome = await applyEvent(
      p,
      tx,
      {
        kind: 'purchased',
        marketplace,
        externalSubscriptionId: truth.externalSubscriptionId,
        occurredAt: p.clock.now(),
        truth,
        note: 'landing page opened',
      },
      inboxId,
    );
    await tx.query(
      `update inbox set body = '', state = 'processed', subscription_id = $2, note = 'resolved; token erased' where inbox_id = $1`,
      [inboxId, outcome.subscriptionId],
    );
    if (outcome.result === 'parked' && outcome.code === 'unmapped_plan' && !outcome.subscriptionId)
      return { ok: false, code: 'landing.plan_not_ready', detail: 'The seller has not set up this plan yet.' };
    if (!outcome.subscriptionId) return { ok: false, code: 'landing.not_for_us', detail: 'This purchase is not one we serve.' };
    if (await awaitsJoin(tx, outcome.subscriptionId))
      return {
        ok: false,
        code: 'landing.awaiting_join',
        detail: 'You use this product already. The seller has to connect this purchase with it.',
      };
    // The token of a purchase that was renewed meanwhile, or of a renewal that has not taken over yet.
    const subscriptionId = await p.subscriptions.visitedAs(tx, outcome.subscriptionId);
    return { ok: true, sessionId: await p.landings.open(tx, { marketplace, token, subscriptionId, visitor: visitor ?? null }) };
  });
}
