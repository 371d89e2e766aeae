import { type LandingResolution, MarketplaceBusy, MarketplaceRefusal, type RecallRefs } from '#marketplaces/core';
import type { Logger } from '#platform';
import type { Procurement } from './procurement.js';
import type { GcpSettings } from './settings.js';
import type { SigningKeys } from './signing-keys.js';
import { verifySignUp } from './sign-up-token.js';
import { toldStartOf, withToldStart } from './told-start.js';
import type { Entitlement } from './truth.js';

/** The form field of the browser's POST (contract gcp §1). */
export const TOKEN_FIELD = 'x-gcp-marketplace-token';
const MAX_TOKEN = 8_192;

/** A verified token speaks for an account; the purchase is looked up. Verified on every landing, never from memory. */
export async function resolveLanding(
  fields: Record<string, string>,
  settings: GcpSettings,
  keys: SigningKeys,
  { procurement, recall }: { procurement: Procurement; recall: RecallRefs | undefined },
  logger?: Logger,
): Promise<LandingResolution> {
  const token = fields[TOKEN_FIELD] ?? '';
  if (token === '')
    return {
      ok: false,
      code: 'landing.token_missing',
      detail: 'the marketplace sends a token with the form; open the page from the marketplace',
    };
  if (token.length > MAX_TOKEN || !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token))
    return { ok: false, code: 'landing.token_invalid', detail: 'this is not a token of the marketplace' };
  const unavailable = (detail: string): LandingResolution => ({ ok: false, code: 'landing.unavailable', detail });
  try {
    const verdict = await verifySignUp(token, settings, keys, logger);
    if (!verdict.ok) return verdict;
    const { accountId, userIdentity, orders } = verdict.signUp;
    const found = purchaseOf(await procurement.entitlementsOf(accountId), orders, settings.serviceName);
    // The order may be minutes or days behind the buyer: his sign-up is good all the same (contract gcp §1).
    if (!found)
      return {
        ok: false,
        code: 'landing.awaiting_order',
        detail: 'the marketplace does not show the order yet',
        signedUp: { buyerAccountId: accountId },
      };
    const { truth } = withToldStart(found, toldStartOf(await recall?.(found.id)));
    return { ok: true, truth, buyerAccountId: accountId, visitor: userIdentity };
  } catch (error) {
    if (error instanceof MarketplaceBusy) return unavailable('the marketplace does not answer; try again in a minute');
    if (error instanceof MarketplaceRefusal) return unavailable('the marketplace does not take our credentials');
    throw error;
  }
}

/**
 * The one the token names; where it names none, the newest live one, of this service before others. An order that is named and not
 * shown yet is waited for: another purchase of the account is not what the buyer came for.
 */
export function purchaseOf(entitlements: readonly Entitlement[], orders: readonly string[], serviceName: string): Entitlement | null {
  const newestFirst = [...entitlements].sort(
    (a, b) => (b.createdAt?.getTime() ?? 0) - (a.createdAt?.getTime() ?? 0) || (a.id < b.id ? 1 : -1),
  );
  const isLive = (e: Entitlement): boolean => e.truth.state !== 'ended';
  const named = newestFirst.filter((e) => orders.includes(e.id) || (e.orderId !== null && orders.includes(e.orderId)));
  if (orders.length > 0) return named.find(isLive) ?? named[0] ?? null;
  const live = newestFirst.filter(isLive);
  return live.find((e) => e.truth.externalOfferId === serviceName) ?? live[0] ?? null;
}
