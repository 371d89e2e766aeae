import type { AgreementViewSummary } from '@aws-sdk/client-marketplace-agreement';
import { licenceIdOf, textOf } from '../liberal.js';
import { SUPERSEDED, TERMINAL } from '../agreement-status.js';
import { type AwsRefs, joinRefs, NOTHING_KNOWN } from '../refs.js';

/** A row of SearchAgreements, or DescribeAgreement's answer, which has no licences and no time of its last update. */
export type AgreementView = Omit<AgreementViewSummary, 'endTimeBehaviorReasonCode'> & { endTimeBehavior?: { type: string | undefined } };

/** A broken instant must not break the reading of all others. */
const instantOf = (value: unknown): string | null => (value instanceof Date && !Number.isNaN(value.getTime()) ? value.toISOString() : null);

/** The licences that a row names, by their `l-…` ids. */
export const licencesOf = (view: AgreementView): string[] => (view.entitlements ?? []).flatMap((one) => licenceIdOf(one.licenseArn) ?? []);

export const productIdOf = (view: AgreementView): string | null =>
  view.proposalSummary?.resources?.map((one) => textOf(one.id)).find((id) => id !== null) ?? null;

/**
 * What one agreement tells of one licence, as the messages about it would have told. `now`: business time.
 *
 * - A licence that is listed is in force from the start of its agreement: so a lost License Updated is made up for (§4.3, §7).
 * - The end of a term that ran out is its endTime; of others the last update, which is when the status changed or later.
 */
export function factsOf(view: AgreementView, licenseId: string, now: Date, productCode: string | null): AwsRefs {
  const at = instantOf(view.lastUpdateTime) ?? now.toISOString();
  const told = <T>(value: T | null): { value: T; at: string } | null => (value === null ? null : { value, at });
  const status = textOf(view.status)?.toUpperCase() ?? '';
  const [startsAt, endsAt] = [instantOf(view.startTime), instantOf(view.endTime)];
  const renews = textOf(view.endTimeBehaviorType ?? view.endTimeBehavior?.type);
  const agreementId = textOf(view.agreementId);
  const initialAgreementId = textOf(view.initialAgreementId);
  const isOver = TERMINAL.has(status);
  return {
    ...NOTHING_KNOWN,
    licenseId,
    accountId: textOf(view.acceptor?.accountId),
    productCode,
    agreementIds: agreementId ? [agreementId] : [],
    initialAgreementId,
    licensed: licencesOf(view).includes(licenseId) && startsAt !== null && startsAt <= now.toISOString(),
    offerId: told(textOf(view.proposalSummary?.offerId)),
    startsAt: told(startsAt),
    endsAt: told(endsAt),
    autoRenew: told(renews === 'EXPIRE' ? false : renews === 'RENEW' || renews === 'REPLACE' ? true : null),
    ...(isOver ? { endedStatus: status, endedAt: endOf(status, endsAt, at), finalStatus: told(status) } : {}),
    superseded: told(SUPERSEDED.has(status) ? status : null),
    lastEventAt: instantOf(view.lastUpdateTime),
  };
}

const endOf = (status: string, endsAt: string | null, at: string): string =>
  endsAt !== null && (status === 'EXPIRED' || endsAt < at) ? endsAt : at;

/** All rows of one licence as one: as long as one of its agreements goes on, the licence does. */
export function factsOfAll(
  views: AgreementView[],
  licenseId: string,
  now: Date,
  codeOf: (productId: string | null) => string | null,
): AwsRefs {
  const all = views.map((view) => factsOf(view, licenseId, now, codeOf(productIdOf(view))));
  const goesOn = all.some((one) => one.endedAt === null && one.superseded === null);
  const over = { endedAt: null, endedStatus: null, finalStatus: null, superseded: null };
  return all.map((one) => (goesOn ? { ...one, ...over } : one)).reduce((a, b) => joinRefs(a, b));
}
