import { type Check, MarketplaceBusy } from '#marketplaces/core';
import { errorText } from '#platform';
import type { AgreementReader } from './agreements/agreement-reader.js';

export type Within = <T>(work: () => Promise<T>) => Promise<T>;

/** An agreement that nobody has: not found is the answer of one who may ask. */
const NOBODY = 'agmt-0000000000000000000000000';

/** Each of the three permissions by itself: a role that lacks one of them shows it here, not when an event was lost. */
export async function agreementChecks(reader: AgreementReader | null, within: Within): Promise<Check[]> {
  if (!reader)
    return [
      {
        check: 'aws.agreements',
        result: 'unknown',
        detail: 'the Agreement API is not asked: an event that is lost stays lost',
        remedy: 'Set AWS_PRODUCT_IDS to prod-…=<product code> for each product, and allow the three calls to the role (guide, step 3).',
      },
    ];
  const calls: [string, () => Promise<unknown>][] = [
    ['SearchAgreements', () => reader.search({ InitialAgreementId: NOBODY }).next()],
    ['DescribeAgreement', () => reader.describe(NOBODY)],
    ['GetAgreementTerms', () => reader.isTrial(NOBODY)],
  ];
  const failed: string[] = [];
  const details: string[] = [];
  let isBusy = false;
  for (const [name, call] of calls) {
    try {
      await within(call);
    } catch (error) {
      failed.push(`aws-marketplace:${name}`);
      details.push(errorText(error));
      isBusy ||= error instanceof MarketplaceBusy;
    }
  }
  if (failed.length === 0) return [{ check: 'aws.agreements', result: 'pass', detail: 'agreements can be searched and read' }];
  return [
    {
      check: 'aws.agreements',
      result: isBusy ? 'unknown' : 'fail',
      detail: details.join('; '),
      remedy: `Allow ${failed.join(', ')} on *, in the account that published the product; the service is in us-east-1.`,
    },
  ];
}
