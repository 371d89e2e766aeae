import { randomUUID } from 'node:crypto';
import { HOUR } from '../../shared/clock.js';
import type { AwsContext } from '../context.js';
import { AwsError } from '../errors.js';
import type { AwsProduct } from '../settings.js';
import type { AwsCaller } from '../sigv4.js';
import type { LegacyCustomer } from '../types.js';
import type { UsageRecord } from '../usage-records.js';

/** The other key: ProductCode and CustomerIdentifier, one product per call by its very form (contract aws §0.3, §5). */
export function refuseLegacyKeys(product: AwsProduct, records: UsageRecord[]): void {
  for (const record of records) {
    if (record.licenseArn !== undefined)
      throw new AwsError('InvalidProductCodeException', 'ProductCode and LicenseArn exclude each other.');
    if ((record.customerIdentifier === undefined) === (record.accountId === undefined))
      throw new AwsError('InvalidCustomerIdentifierException', 'Name the customer by CustomerIdentifier or by CustomerAWSAccountId.');
    if (!product.dimensions.includes(record.dimension))
      throw new AwsError(
        'InvalidUsageDimensionException',
        'The usage dimension does not match one of the UsageDimensions associated with products.',
      );
  }
}

const customerOf = (context: AwsContext, product: AwsProduct, record: UsageRecord): LegacyCustomer | undefined =>
  context.state.legacy
    .values()
    .find(
      (one) =>
        one.productCode === product.code &&
        (record.customerIdentifier === undefined
          ? one.accountId === record.accountId
          : one.customerIdentifier === record.customerIdentifier),
    );

/** From subscribe-success on, and for the hour after unsubscribe-pending; a contract's customer from the landing on. */
const isOpen = ({ status }: LegacyCustomer, { pricing }: AwsProduct): boolean =>
  status === 'subscribed' || status === 'unsubscribing' || (pricing !== 'usage' && status === 'pending');

export function settleLegacy(context: AwsContext, caller: AwsCaller, product: AwsProduct, record: UsageRecord): object {
  const customer = customerOf(context, product, record);
  if (!customer || !isOpen(customer, product)) return { UsageRecord: record.raw, Status: 'CustomerNotSubscribed' };
  const hour = new Date(Math.floor(record.timestampMs / HOUR) * HOUR).toISOString();
  const { customerIdentifier, accountId } = customer;
  const key = [caller.region, product.code, customerIdentifier, record.dimension, hour].join('|');
  const first = context.state.usage.get(key);
  if (first && (first.fingerprint !== record.fingerprint || context.settings().identicalResend === 'duplicate'))
    return { UsageRecord: record.raw, Status: 'DuplicateRecord' };
  const accepted =
    first ??
    context.state.usage.put(key, {
      meteringRecordId: randomUUID(),
      region: caller.region,
      licenseId: customerIdentifier,
      productCode: product.code,
      buyerAccountId: accountId,
      dimension: record.dimension,
      hour,
      quantity: record.quantity,
      fingerprint: record.fingerprint,
      acceptedAt: context.clock.now().toISOString(),
    });
  return { UsageRecord: record.raw, MeteringRecordId: accepted.meteringRecordId, Status: 'Success' };
}
