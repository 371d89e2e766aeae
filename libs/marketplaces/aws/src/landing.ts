import type { LandingResolution, RecallRefs } from '#marketplaces/core';
import type { Clock } from '#platform';
import { type AwsApi, failureOf, isRegistrationExpired } from './api.js';
import { licenceIdOf, textOf } from './liberal.js';
import type { EntitlementReader, Holder } from './entitlements.js';
import { generationOf } from './legacy/generations.js';
import { legacyTruth, newLegacyRefs } from './legacy/legacy-refs.js';
import { isLegacyAt } from './legacy/keys.js';
import { NOTHING_KNOWN, truthOfRefs } from './refs.js';
import type { AwsSettings } from './settings.js';
import type { AgreementTruth } from './agreements/agreement-truth.js';

export const TOKEN_FIELD = 'x-amzn-marketplace-token';
const MAX_TOKEN = 8_192;
interface LandingDeps {
  settings: AwsSettings;
  api: AwsApi;
  entitlements: EntitlementReader;
  clock: Clock;
  recall?: RecallRefs | undefined;
  /** Null: the Agreement API is not asked. */
  agreements: AgreementTruth | null;
}
type Failed = Extract<LandingResolution, { ok: false }>;

/**
 * ResolveCustomer, at once: how long a token lives is told in several ways (contract aws §2). The other fields of the form
 * (agreement, product, offer type) are hints that anybody may write; nothing is read from them.
 */
export async function resolveLanding(
  fields: Record<string, string>,
  { settings, api, entitlements, clock, recall, agreements }: LandingDeps,
): Promise<LandingResolution> {
  const failed = (code: Failed['code'], detail: string): Failed => ({ ok: false, code, detail });
  const token = (fields[TOKEN_FIELD] ?? '').trim();
  if (token === '')
    return failed('landing.token_missing', 'the marketplace sends a token along; choose "Set up your account" in AWS Marketplace');
  if (token.length > MAX_TOKEN || !/^[\x21-\x7e]+$/.test(token))
    return failed('landing.token_invalid', 'this is not a token of the marketplace');
  let answer;
  try {
    answer = await api.resolveCustomer(token);
  } catch (error) {
    const { name, sort } = failureOf(error);
    if (isRegistrationExpired(error))
      return failed(
        'landing.token_expired',
        'the token is too old; choose "Set up your account" in AWS Marketplace again, without subscribing again',
      );
    if (name === 'InvalidTokenException' || sort === 'refused')
      return failed('landing.token_invalid', 'the marketplace does not know this token');
    if (sort === 'us') return failed('landing.unavailable', 'the marketplace does not take our credentials');
    return failed('landing.unavailable', 'the marketplace does not answer; try again in a minute');
  }
  const [productCode, accountId, licenseArn] = [textOf(answer.ProductCode), textOf(answer.CustomerAWSAccountId), textOf(answer.LicenseArn)];
  const now = clock.now();
  const isLegacy = productCode !== null && isLegacyAt(settings, productCode, now);
  // Nothing is promised of the account on a legacy listing (contract aws §2).
  if (!productCode || (!accountId && !isLegacy))
    return failed('landing.unavailable', 'the answer of the marketplace makes no sense; try again in a minute');
  if (!settings.productCodes.includes(productCode)) return failed('landing.not_for_us', 'the purchase is of another product');
  // A token may be good for one call only: what it has told is not thrown away because another service does not answer.
  const granted = async (holder: Holder) => {
    const told = await entitlements.tell(productCode, holder, now);
    const isOwed = told === null && entitlements.covers(productCode);
    return { entitlements: told, entitlementsDueAt: isOwed ? now.toISOString() : null };
  };
  if (isLegacy) {
    const customerIdentifier = textOf(answer.CustomerIdentifier);
    if (!customerIdentifier)
      return failed('landing.not_for_us', 'the purchase has no customer identifier: the listing is not of the old contract');
    // A token tells no time: it opens the youngest subscription, and begins none after an end.
    const at = now.toISOString();
    const generation = await generationOf(productCode, customerIdentifier, { at, begins: false, recall });
    const refs = {
      ...newLegacyRefs(productCode, customerIdentifier, generation),
      accountId,
      ...(await granted({ customerIdentifier })),
    };
    return { ok: true, truth: legacyTruth(refs, now), buyerAccountId: accountId };
  }
  const licenseId = licenceIdOf(licenseArn);
  // A listing of the old contract has no licence; its purchases cannot be told apart (contract aws §0.2).
  if (!licenseArn || !licenseId)
    return failed('landing.not_for_us', 'the purchase has no licence: the listing is not sold with concurrent agreements');
  // A renewal may be landed on before anything was told of it: whom it follows keeps its tenant (contract aws §7, §11.1).
  const learnt = accountId && agreements ? await agreements.learnOfLicence(licenseId, licenseArn, accountId) : null;
  const told = { licenseId, licenseArn, accountId, productCode, ...(await granted({ licenseArn })) };
  const refs = { ...NOTHING_KNOWN, ...learnt, ...told };
  return { ok: true, truth: truthOfRefs(refs, now), buyerAccountId: accountId };
}
