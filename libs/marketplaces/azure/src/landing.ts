import { type LandingResolution, MarketplaceBusy, MarketplaceRefusal } from '#marketplaces/core';
import type { Clock } from '#platform';
import { type ApiAnswer, type ApiClient } from './api-client.js';
import { readErrorBody } from './error-body.js';
import type { AzureSettings } from './settings.js';
import { resolvedTruthOf } from './truth.js';

const MAX_TOKEN = 8_192;
type Failed = Extract<LandingResolution, { ok: false }>;

/** Resolve. `fields.token` is decoded once by the HTTP layer; decoding again would turn `+` into a blank (contract azure §2). */
export async function resolveLanding(
  fields: Record<string, string>,
  settings: AzureSettings,
  api: ApiClient,
  clock: Clock,
): Promise<LandingResolution> {
  const failed = (code: Failed['code'], detail: string): Failed => ({ ok: false, code, detail });
  const token = fields['token'] ?? '';
  if (token === '')
    return failed('landing.token_missing', 'the marketplace adds a token to the address; open the page from the marketplace');
  // A header's value: printable ASCII only. Nothing else can be a token.
  if (token.length > MAX_TOKEN || !/^[\x21-\x7e]+$/.test(token))
    return failed('landing.token_invalid', 'this is not a token of the marketplace');
  let answer: ApiAnswer;
  try {
    answer = await api.call({
      method: 'POST',
      path: '/saas/subscriptions/resolve',
      headers: { 'x-ms-marketplace-token': token },
      timeoutMs: settings.timeoutsMs.read,
      changes: false,
      operation: 'resolve',
    });
  } catch (error) {
    if (error instanceof MarketplaceBusy) return failed('landing.unavailable', 'the marketplace does not answer; try again in a minute');
    // Tokens of another application's offer are answered like a wrong secret; `doctor` tells the two apart.
    if (error instanceof MarketplaceRefusal && error.httpStatus === 403)
      return failed('landing.not_for_us', 'the purchase belongs to another application');
    if (error instanceof MarketplaceRefusal)
      return { ...failed('landing.unavailable', 'the marketplace does not take our credentials'), refusal: error };
    throw error;
  }
  if (answer.status === 200) {
    const truth = resolvedTruthOf(safeJson(answer.text), clock.now());
    if (!truth) return failed('landing.unavailable', 'the marketplace answered no purchase; try again in a minute');
    if (settings.publisherId && truth.refs['publisherId'] !== settings.publisherId)
      return failed('landing.not_for_us', 'the purchase belongs to another publisher');
    return { ok: true, truth, buyerAccountId: truth.beneficiary?.directoryId ?? truth.purchaser?.directoryId ?? null };
  }
  if (answer.status === 400 && /expire/i.test(readErrorBody(answer.text).message)) {
    return failed(
      'landing.token_expired',
      'tokens hold for 24 hours; open the subscription in the Azure portal and choose Configure account',
    );
  }
  if (answer.status === 400)
    return failed(
      'landing.token_invalid',
      'the marketplace does not know this token; open the subscription in the Azure portal and choose Configure account',
    );
  if (answer.status === 404) return failed('landing.not_for_us', 'the marketplace knows no such purchase');
  return failed('landing.unavailable', 'the marketplace does not answer; try again in a minute');
}

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
