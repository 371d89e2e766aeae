import { randomBytes, randomUUID } from 'node:crypto';
import type { FulfillmentEvent, MarketplaceAdapter, MarketplaceState, SubscriptionTruth } from '#marketplaces/core';
import { createAwsAdapter } from '#marketplaces/aws';
import { GuardedHttp } from '#platform';
import type { ManualClock } from '#platform/testing';
import type { EventCase } from './event-table.js';

interface Told {
  type: string;
  agreement?: Record<string, unknown>;
}
const PRODUCT = '4harborobjectcells0000000';
const LICENCED = /^License /;
const LATER = '2032-01-01T00:00:00.000Z';
const FIRST_END = '2031-05-01T00:00:00.000Z';

const ended = (status: string): Told => ({ type: 'Purchase Agreement Ended - Proposer', agreement: { status } });
const of = (type: string, agreement?: Record<string, unknown>): Told => ({ type, ...(agreement ? { agreement } : {}) });

/** Every detail-type of contract aws §4.1, each with every intent or status it may carry. */
export const AWS_TOLD: Record<string, Told> = {
  'License Updated': of('License Updated - Manufacturer'),
  'License Deprovisioned': of('License Deprovisioned - Manufacturer'),
  'Purchase Agreement Created NEW': of('Purchase Agreement Created - Proposer', { intent: 'NEW', status: 'ACTIVE' }),
  'Purchase Agreement Created NEW, manufacturer': of('Purchase Agreement Created - Manufacturer', { intent: 'NEW', status: 'ACTIVE' }),
  'Purchase Agreement Created RENEW': of('Purchase Agreement Created - Proposer', {
    intent: 'RENEW',
    status: 'ACTIVE',
    previousAgreementId: 'agmt-before',
  }),
  'Purchase Agreement Created REPLACE': of('Purchase Agreement Created - Proposer', { intent: 'REPLACE', status: 'ACTIVE' }),
  'Purchase Agreement Amended, later end': of('Purchase Agreement Amended - Proposer', {
    intent: 'AMEND',
    status: 'ACTIVE',
    endTime: LATER,
  }),
  'Purchase Agreement Amended, no renewal': of('Purchase Agreement Amended - Proposer', {
    intent: 'AMEND',
    status: 'ACTIVE',
    endTime: FIRST_END,
    autoRenewalEnabled: false,
  }),
  'Purchase Agreement Ended CANCELLED': ended('CANCELLED'),
  'Purchase Agreement Ended CANCELLED, manufacturer': of('Purchase Agreement Ended - Manufacturer', { status: 'CANCELLED' }),
  'Purchase Agreement Ended EXPIRED': ended('EXPIRED'),
  'Purchase Agreement Ended TERMINATED': ended('TERMINATED'),
  'Purchase Agreement Ended RENEWED': ended('RENEWED'),
  'Purchase Agreement Ended REPLACED': ended('REPLACED'),
  'Purchase Agreement Ended SUPERSEDED': ended('SUPERSEDED'),
  'Purchase Agreement Ended ARCHIVED': ended('ARCHIVED'),
  'Purchase Agreement Ended ROLLED_BACK': ended('ROLLED_BACK'),
  'Purchase Agreement Ended with an unknown status': ended('TELEPORTED'),
  'Purchase Agreement Ending': of('Purchase Agreement Ending - Proposer'),
  'Purchase Agreement Renewal Terms Finalized': of('Purchase Agreement Renewal Terms Finalized - Proposer'),
  'Purchase Agreement Renewal Upcoming': of('Purchase Agreement Renewal Upcoming - Proposer'),
  'Purchase Agreement Advisory Issued': of('Purchase Agreement Advisory Issued - Manufacturer'),
  'Purchase Agreement Advisory Resolved': of('Purchase Agreement Advisory Resolved - Manufacturer'),
  'Agreement Cancellation Request Pending Approval': of('Agreement Cancellation Request Pending Approval - Proposer'),
  'Agreement Cancellation Request Approved': of('Agreement Cancellation Request Approved - Proposer'),
  'Agreement Cancellation Request Rejected': of('Agreement Cancellation Request Rejected - Proposer'),
  'Agreement Cancellation Request Cancelled': of('Agreement Cancellation Request Cancelled - Proposer'),
  'Agreement Cancellation Request Validation Failed': of('Agreement Cancellation Request Validation Failed - Proposer'),
  'Purchase Agreement Billing Adjustment Completed': of('Purchase Agreement Billing Adjustment Completed - Proposer'),
  'Purchase Agreement Billing Adjustment Failed': of('Purchase Agreement Billing Adjustment Failed - Proposer'),
  'Spend Threshold Reached': of('Purchase Agreement Spend Threshold Reached - Proposer'),
  'Vet Succeeded': of('Purchase Agreement Vet Succeeded - Proposer'),
  'Vet Failed': of('Purchase Agreement Vet Failed - Proposer'),
  'an unknown detail-type': of('Purchase Agreement Teleported - Proposer'),
};

/** The real adapter: the truth is what messages told, so what went before is told by its refs. */
export class AwsAnswers {
  readonly adapter: MarketplaceAdapter;

  constructor(private readonly clock: ManualClock) {
    this.adapter = createAwsAdapter(
      {
        productCodes: [PRODUCT],
        region: 'us-east-1',
        endpoint: 'http://127.0.0.1:9',
        webhookSecret: 'a-secret-of-the-test',
        credentials: { accessKeyId: 'k', secretAccessKey: 's' },
      },
      { clock, http: new GuardedHttp({ allow: [] }) },
    );
  }

  purchase(name: string): EventCase & { externalId: string } {
    const told = AWS_TOLD[name]!;
    const licence = `l-${randomBytes(16).toString('hex')}`;
    const agreement = `agmt-${randomBytes(12).toString('hex')}`;
    return {
      externalId: licence,
      truth: (state) => this.truthOf(licence, agreement, state),
      message: () => {
        const time = this.clock.now().toISOString();
        const body = {
          version: '0',
          id: randomUUID(),
          'detail-type': told.type,
          source: 'aws.agreement-marketplace',
          account: '999900001111',
          time,
          region: 'us-east-1',
          resources: [],
          detail: {
            requestId: randomUUID(),
            catalog: 'AWSMarketplace',
            agreement: { id: agreement, ...told.agreement },
            ...(LICENCED.test(told.type)
              ? {
                  product: { code: PRODUCT, id: 'prod-example' },
                  license: { arn: `aws:license-manager:us-east-1:294400000000:${licence}` },
                }
              : {}),
            acceptor: { accountId: '111122223333' },
            proposer: { accountId: '999900001111' },
            offer: { id: 'offer-exampleoffer1' },
          },
        };
        return { source: 'aws.eventbridge', naturalKey: body.id, headers: {}, body: JSON.stringify(body), receivedAt: this.clock.now() };
      },
    };
  }

  private truthOf(licence: string, agreement: string, state: MarketplaceState): SubscriptionTruth {
    const now = this.clock.now().toISOString();
    const over = state === 'ended' || state === 'voided';
    const refs = {
      licenseId: licence,
      licenseArn: `arn:aws:license-manager::294400000000:license:${licence}`,
      accountId: '111122223333',
      productCode: PRODUCT,
      licensed: state !== 'scheduled' && state !== 'pending_fulfillment',
      registered: state !== 'scheduled',
      agreementIds: [agreement],
      endedStatus: over ? 'CANCELLED' : null,
      endedAt: over ? now : null,
      startsAt: { value: state === 'scheduled' ? LATER : '2030-05-01T00:00:00.000Z', at: '2030-05-01T00:00:00.000Z' },
      endsAt: { value: FIRST_END, at: '2030-05-01T00:00:00.000Z' },
      lastEventAt: now,
    };
    const event = {
      kind: 'changed',
      marketplace: 'aws',
      externalSubscriptionId: licence,
      occurredAt: this.clock.now(),
      note: state,
    } as const;
    const truth = this.adapter.mergeTruth!(null, {
      ...event,
      truth: { refs, observedAt: this.clock.now() } as unknown as SubscriptionTruth,
    } satisfies FulfillmentEvent).truth!;
    // AWS tells of no suspension and of no voiding; our own states are judged all the same.
    return state === 'suspended' || state === 'voided' ? { ...truth, state } : truth;
  }
}
