import { type KeyChange, type MarketplaceRefs, MarketplaceRefusal } from '#marketplaces/core';
import { licenceIdOf } from '../liberal.js';
import { type AwsRefs, callArnOf, NOTHING_KNOWN, readRefs, truthOfRefs } from '../refs.js';
import type { AwsSettings } from '../settings.js';
import { idOf, isVoided, type LegacyRefs, legacyTruth, readLegacyRefs } from './legacy-refs.js';

const HOUR = 3_600_000;
const fullHour = (ms: number): Date => new Date(Math.ceil(ms / HOUR) * HOUR);
/** As the request model's pattern asks for (contract aws §2). */
const SPELLING = /^arn:aws[a-z-]*:license-manager:[^\s]*:license[:/]l-[0-9a-f]{32}$/i;

/**
 * Subscribers of an old listing become licences when it is opted in to concurrent agreements. AWS names no link between customer
 * identifier and licence; buyer account and product are the same, which two agreements of one buyer share too (contract aws §11.1).
 */
export function keyChangeOf({ legacyProducts }: Pick<AwsSettings, 'legacyProducts'>): KeyChange | null {
  if (Object.values(legacyProducts).every(({ until }) => until === null)) return null;
  /** The first hour that is reported by licence: the hour decides the key, so that is a full one. */
  const firstHour = (productCode: string): Date | null => {
    const until = legacyProducts[productCode]?.until ?? null;
    return until && fullHour(until.getTime());
  };
  const isUnderWay = (former: LegacyRefs): boolean => former.endedAt === null && !isVoided(former);
  return {
    formerPrefix: 'legacy:',
    dueAt: (raw: MarketplaceRefs) => {
      const former = readLegacyRefs(raw);
      return former && !former.joined && isUnderWay(former) ? firstHour(former.productCode) : null;
    },
    mayJoin: (rawFormer, rawNext) => {
      const [former, next] = [readLegacyRefs(rawFormer), readRefs(rawNext)];
      if (!former || former.joined || !isUnderWay(former) || firstHour(former.productCode) === null) return false;
      if (!next || next.licenseId === '' || next.joins || next.endedAt !== null) return false;
      return former.accountId !== null && former.accountId === next.accountId && former.productCode === next.productCode;
    },
    join: (rawFormer, rawNext, spelling, now) => {
      const former = readLegacyRefs(rawFormer);
      const due = former && firstHour(former.productCode);
      if (!former || !due || !isUnderWay(former))
        throw new MarketplaceRefusal('aws.not_joinable', 'it is no purchase in force of an old listing that changes to licences');
      // The take-over begins with the next full hour: what was counted before stays where it is, and goes by the licence too.
      const from = new Date(Math.max(due.getTime(), now.getTime()));
      const next = licenceOf(former, rawNext, spelling);
      const { licenseId, accountId } = next;
      if (former.joined && former.joined.licenseId !== licenseId)
        throw new MarketplaceRefusal('aws.joined_already', 'it is joined with another licence');
      const joined = { licenseId, licenseArn: callArnOf(next)!, accountId: accountId! };
      return {
        former: legacyTruth({ ...former, accountId, joined }, now),
        // In force under its former key it is licensed: no License Updated tells that again.
        next: truthOfRefs({ ...next, licensed: true, joins: { formerId: idOf(former), from: from.toISOString() } }, now),
      };
    },
  };
}

function licenceOf(former: LegacyRefs, raw: MarketplaceRefs | null, spelling: string | null): AwsRefs {
  if (spelling !== null && !SPELLING.test(spelling))
    throw new MarketplaceRefusal('aws.invalid_license', 'the ARN of a licence is arn:aws:license-manager::<account>:license:l-…');
  const known = raw && readRefs(raw);
  const told = { ...NOTHING_KNOWN, licenseId: licenceIdOf(spelling) ?? '', productCode: former.productCode };
  const next = known ?? { ...told, accountId: former.accountId };
  if (spelling !== null && licenceIdOf(spelling) !== next.licenseId)
    throw new MarketplaceRefusal('aws.invalid_license', 'the ARN is of another licence');
  if (next.endedAt !== null) throw new MarketplaceRefusal('aws.not_joinable', 'the licence has ended');
  const accountId = next.accountId ?? former.accountId;
  if (accountId === null)
    throw new MarketplaceRefusal('aws.account_missing', 'the account of neither is known; the buyer must open the page once');
  if (former.accountId !== null && former.accountId !== accountId)
    throw new MarketplaceRefusal('aws.not_joinable', 'the licence is of another buyer');
  if (next.productCode !== former.productCode) throw new MarketplaceRefusal('aws.not_joinable', 'the licence is of another product');
  const licenseArn = next.licenseArn ?? spelling;
  if (licenseArn === null && callArnOf(next) === null)
    throw new MarketplaceRefusal('aws.license_unresolved', 'how calls spell the licence is not known: give its ARN');
  return { ...next, accountId, licenseArn };
}
