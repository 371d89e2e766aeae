import type { StoredInbound } from '#marketplaces/core';

export const LICENCE = 'l-0123456789abcdef0123456789abcdef';
export const RESOLVED_ARN = `arn:aws:license-manager::294400000000:license:${LICENCE}`;
/** As events spell it: no `arn:`, a region, no `license` (contract aws §2). */
export const EVENT_ARN = `aws:license-manager:us-east-1:294400000000:${LICENCE}`;
export const PRODUCT = '4harborobjectcells0000000';
export const BUYER = '111122223333';
export const AGREEMENT = 'agmt-aaaaaaaaaaaaaaaaaaaaaaaaa';

export interface Told {
  type: string;
  time: string;
  id?: string;
  agreement?: Record<string, unknown>;
  licence?: boolean;
  detail?: Record<string, unknown>;
}

export function envelopeText({
  type,
  time,
  id = `${type}@${time}`,
  agreement = {},
  licence = type.startsWith('License'),
  detail = {},
}: Told): string {
  return JSON.stringify({
    version: '0',
    id,
    'detail-type': type,
    source: 'aws.agreement-marketplace',
    account: '999900001111',
    time,
    region: 'us-east-1',
    resources: [],
    detail: {
      requestId: '0b2c7a4e-1111-4222-8333-444455556666',
      catalog: 'AWSMarketplace',
      agreement: { id: AGREEMENT, ...agreement },
      ...(licence ? { product: { code: PRODUCT, id: 'prod-example' }, license: { arn: EVENT_ARN } } : {}),
      acceptor: { accountId: BUYER },
      proposer: { accountId: '999900001111' },
      offer: { id: 'offer-exampleoffer1' },
      ...detail,
    },
  });
}

export function stored(told: Told): StoredInbound {
  const body = envelopeText(told);
  return { source: 'aws.eventbridge', naturalKey: told.id ?? '', headers: {}, body, receivedAt: new Date(Date.parse(told.time) + 2_000) };
}
