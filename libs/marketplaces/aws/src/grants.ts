import type { SubscriptionTruth } from '#marketplaces/core';
import type { Clock } from '#platform';
import type { EntitlementReader } from './entitlements.js';
import { legacyTruth, readLegacyRefs } from './legacy/legacy-refs.js';
import { type AwsRefs, callArnOf, readRefs, truthOfRefs } from './refs.js';

export interface GrantDeps {
  entitlements: EntitlementReader;
  clock: Clock;
}

/**
 * What a licence grants since it was updated, as facts of its refs. Calls take one spelling of it only (`callArnOf`): before a
 * landing or a take-over there is none, and those read by themselves.
 */
export async function grantsOf(
  { productCode, ...refs }: AwsRefs,
  updatedAt: string,
  { entitlements, clock }: GrantDeps,
): Promise<Partial<AwsRefs>> {
  if (productCode === null || !entitlements.covers(productCode)) return {};
  const licenseArn = callArnOf({ productCode, ...refs });
  const told = licenseArn === null ? null : await entitlements.tell(productCode, { licenseArn }, clock.now());
  return { entitlementsDueAt: updatedAt, ...(told ? { entitlements: told } : {}) };
}

/** The purchase with what it grants now; as it was where that is not told. */
export async function withGrants(truth: SubscriptionTruth, { entitlements, clock }: GrantDeps): Promise<SubscriptionTruth> {
  const legacy = readLegacyRefs(truth.refs);
  const refs = legacy ? null : readRefs(truth.refs);
  const productCode = (legacy ?? refs)?.productCode ?? null;
  const licenseArn = refs && callArnOf(refs);
  if (productCode === null || truth.state === 'ended' || (!legacy && !licenseArn)) return truth;
  const holder = legacy ? { customerIdentifier: legacy.customerIdentifier } : { licenseArn: licenseArn! };
  const told = await entitlements.tell(productCode, holder, clock.now());
  if (!told) return truth;
  return legacy
    ? legacyTruth({ ...legacy, entitlements: told }, truth.observedAt)
    : truthOfRefs({ ...refs!, entitlements: told }, truth.observedAt);
}
