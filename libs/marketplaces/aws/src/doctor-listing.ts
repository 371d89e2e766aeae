import type { Check, DoctorOptions } from '#marketplaces/core';
import { AWS_PLAN } from './refs.js';
import type { AwsSettings } from './settings.js';

/** AWS knows products and dimensions, not plans, and no call of the metering service tells a listing's dimensions or units. */
export function listingChecks(settings: AwsSettings, options: DoctorOptions): Check[] {
  const listings = options.listings ?? [];
  if (listings.length === 0) return [];
  const offers = listings.map((one) => one.externalOfferId);
  const faults = [
    ...offers.filter((code) => !settings.productCodes.includes(code)).map((code) => `the catalog's ${code} is not in AWS_PRODUCT_CODES`),
    ...settings.productCodes.filter((code) => !offers.includes(code)).map((code) => `${code} has no offer in the catalog`),
    ...listings.flatMap((one) =>
      one.plans
        .filter((plan) => plan.externalPlanId !== AWS_PLAN)
        .map(
          (plan) => `plan ${plan.externalPlanId} of ${one.externalOfferId} can never be bought: the one plan of a product is ${AWS_PLAN}`,
        ),
    ),
  ];
  const products: Check =
    faults.length > 0
      ? {
          check: 'aws.products',
          result: 'fail',
          detail: faults.join('; '),
          remedy:
            'offer.externalId is the product code of the AWS Marketplace Management Portal, and AWS_PRODUCT_CODES lists the same codes.',
        }
      : { check: 'aws.products', result: 'pass', detail: `offers of the catalog and AWS_PRODUCT_CODES agree: ${offers.join(', ')}` };
  const dimensions = [...new Set(listings.flatMap((one) => one.plans.flatMap((plan) => plan.meters.map((m) => m.dimension))))];
  return [
    products,
    {
      check: 'aws.dimensions',
      result: 'unknown',
      detail: `no call tells the dimensions of a listing; the catalog sends ${dimensions.join(', ')}`,
      remedy:
        'By hand: compare the API names and units with the product page in the Management Portal; an unknown name refuses a whole batch.',
    },
  ];
}
