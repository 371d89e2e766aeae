import { createHash } from 'node:crypto';
import { SECOND } from '../../shared/clock.js';
import type { AwsContext } from '../context.js';
import { AwsError } from '../errors.js';
import { licenseArn } from '../licence-arn.js';
import { RateLimit } from '../rate-limit.js';
import type { Operation } from '../service-scope.js';
import { productOf } from '../settings.js';
import type { AwsCaller } from '../sigv4.js';
import type { AwsAgreement } from '../types.js';
import { invalid, matches, readSearch, type Search } from './agreement-search.js';

const REGION = 'us-east-1';
const MOST = 50;

/** The Agreement API as far as a seller reads by it (contract aws §7). Changes nothing. */
export class Agreements {
  private readonly rates = new RateLimit();

  constructor(private readonly context: AwsContext) {}

  operations(): Record<string, Operation> {
    const guarded =
      (answer: (input: Record<string, unknown>, caller: AwsCaller) => object): Operation =>
      (input, caller) => {
        // The service is in one region (contract aws §6, §7).
        if (caller.region !== REGION) throw new AwsError('UnknownOperationException', `The service is in ${REGION} only.`);
        if (!this.rates.take(caller.accountId, this.context.settings().agreementRatePerSecond, performance.now()))
          throw new AwsError('ThrottlingException', 'Rate exceeded');
        return answer(input, caller);
      };
    return {
      SearchAgreements: guarded((input, caller) => this.search(input, caller)),
      DescribeAgreement: guarded((input, caller) => this.describe(this.visible(input, caller))),
      GetAgreementTerms: guarded((input, caller) =>
        page('acceptedTerms', this.terms(this.visible(input, caller)), input, `terms|${String(input['agreementId'])}`),
      ),
    };
  }

  private search(input: Record<string, unknown>, caller: AwsCaller): object {
    const search = readSearch(input);
    const settings = this.context.settings();
    const shownUntil = this.context.clock.nowMs() - settings.agreementLagSeconds * SECOND;
    const rows = this.context.state.agreementVersions
      .values()
      .flatMap((versions) => versions.filter((one) => Date.parse(one.updatedAt) <= shownUntil).at(-1) ?? [])
      .filter((one) => !settings.hiddenAgreements.includes(one.id))
      // Parties are proposer and acceptor: who made the product of a resale is neither (contract aws §7).
      .filter((one) => (search.party === 'Proposer' ? one.proposerAccountId : one.buyerAccountId) === caller.accountId)
      .filter((one) => matches(one, this.licencesOf(one), search))
      .sort((a, b) => this.compare(a, b, search));
    return page(
      'agreementViewSummaries',
      rows.map((one) => ({
        ...this.wireOf(one),
        lastUpdateTime: seconds(one.updatedAt),
        entitlements: this.licencesOf(one).map((arn) => ({ licenseArn: arn })),
        ...(behaviourOf(one) ? { endTimeBehaviorType: behaviourOf(one)!.type } : {}),
      })),
      input,
      createHash('sha256').update(JSON.stringify(search)).digest('hex'),
    );
  }

  private compare(a: AwsAgreement, b: AwsAgreement, { sortBy, isDescending }: Search): number {
    const by = (one: AwsAgreement): string =>
      ({ EndTime: one.endsAt ?? '', StartTime: one.startsAt, LastUpdateTime: one.updatedAt })[sortBy] + one.id;
    return (by(a) < by(b) ? -1 : 1) * (isDescending ? -1 : 1);
  }

  private describe(one: AwsAgreement): object {
    const behaviour = behaviourOf(one);
    return {
      ...this.wireOf(one),
      estimatedCharges: { currencyCode: 'USD', agreementValue: '0' },
      ...(behaviour ? { endTimeBehavior: behaviour } : {}),
    };
  }

  private wireOf(one: AwsAgreement): object {
    return {
      agreementId: one.id,
      agreementType: 'PurchaseAgreement',
      status: one.status,
      acceptor: { accountId: one.buyerAccountId },
      proposer: { accountId: one.proposerAccountId },
      acceptanceTime: seconds(one.acceptedAt),
      startTime: seconds(one.startsAt),
      ...(one.endsAt === null ? {} : { endTime: seconds(one.endsAt) }),
      initialAgreementId: one.initialAgreementId,
      proposalSummary: { offerId: one.offerId, resources: [{ id: one.productId, type: 'SaaSProduct' }] },
    };
  }

  /** A licence is there from the start of its agreement (contract aws §7). */
  private licencesOf(one: AwsAgreement): string[] {
    const isThere = one.licensedAt !== null || Date.parse(one.startsAt) <= this.context.clock.nowMs();
    return isThere ? [licenseArn(this.context.settings(), one.licenseId)] : [];
  }

  /** Union members, one key each; the trial, where there is one, comes last. */
  private terms(one: AwsAgreement): object[] {
    const dimensions = productOf(this.context.settings(), one.productCode)?.dimensions ?? [];
    const rateCard = dimensions.map((dimensionKey) => ({ dimensionKey, price: '0.01' }));
    return [
      { legalTerm: { type: 'LegalTerm', documents: [{ type: 'StandardEula', version: '2025-01-01' }] } },
      { usageBasedPricingTerm: { type: 'UsageBasedPricingTerm', currencyCode: 'USD', rateCards: [{ rateCard }] } },
      ...(one.isFreeTrial
        ? [
            {
              freeTrialPricingTerm: {
                type: 'FreeTrialPricingTerm',
                duration: `P${one.trialDays ?? 14}D`,
                grants: dimensions.slice(0, 1).map((dimensionKey) => ({ dimensionKey, maxQuantity: 3 })),
              },
            },
          ]
        : []),
    ];
  }

  /** An agreement of others is answered like one that is not there. */
  private visible(input: Record<string, unknown>, { accountId }: AwsCaller): AwsAgreement {
    const id = input['agreementId'];
    if (typeof id !== 'string' || !/^[A-Za-z0-9_/-]{1,64}$/.test(id)) throw invalid('agreementId is missing or not valid.');
    const found = this.context.state.agreements.get(id);
    if (!found || (found.proposerAccountId !== accountId && found.buyerAccountId !== accountId))
      throw new AwsError('ResourceNotFoundException', `Agreement ${id} was not found.`);
    return found;
  }
}

/** Present for active agreements with an end (contract aws §7); those of the sandbox expire unless somebody chose otherwise. */
function behaviourOf(one: AwsAgreement): { type: string; reasonCode?: string } | null {
  if (one.status !== 'ACTIVE' || one.endsAt === null) return null;
  if (one.autoRenews) return { type: 'RENEW' };
  return { type: 'EXPIRE', reasonCode: one.autoRenews === false ? 'ACCEPTOR_RENEW_OPTED_OUT' : 'NO_RENEWAL_TERM' };
}

/** A token is good for the question that it was given for. */
function page(name: string, rows: object[], input: Record<string, unknown>, question: string): object {
  const most = input['maxResults'] ?? MOST;
  if (typeof most !== 'number' || !Number.isInteger(most) || most < 1 || most > MOST) throw invalid(`maxResults must be 1 to ${MOST}.`);
  const given = input['nextToken'] ?? null;
  const tokenOf = (from: number): string => Buffer.from(JSON.stringify({ from, question })).toString('base64url');
  const from =
    given === null ? 0 : Array.from({ length: rows.length + 1 }, (_, i) => i).find((place) => place > 0 && tokenOf(place) === given);
  if (from === undefined) throw invalid('nextToken is not valid.');
  const next = from + most;
  return { [name]: rows.slice(from, next), ...(next < rows.length ? { nextToken: tokenOf(next) } : {}) };
}

/** Numbers of epoch seconds (contract aws §6). */
const seconds = (instant: string): number => Date.parse(instant) / 1_000;
