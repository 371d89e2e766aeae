import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from '#platform';
import { House } from './house.js';

export const LEGACY = '4harborlegacy000000000000';
export const CONTRACT = '4harborcontract0000000000';
const topicOf = (kind: 'subscription' | 'entitlement', code: string): string =>
  `arn:aws:sns:us-east-1:287250355862:aws-mp-${kind}-notification-${code}`;
export const [TOPIC, SEATS_TOPIC] = [topicOf('subscription', LEGACY), topicOf('entitlement', CONTRACT)];
export const QUEUE = 'marketplace-events';
export const OVER = ['closing', 'cancelled', 'voided'];

/** Sells one product with concurrent agreements and two old listings, and hears of them by SNS and a queue too. */
export class OldHouse extends House {
  override environment(): Record<string, string> {
    const catalog = join(this.folder, 'catalog');
    cpSync(join(projectRoot(), 'catalog'), catalog, { recursive: true });
    const text = readFileSync(join(catalog, 'aws.yaml'), 'utf8');
    for (const [name, code] of [
      ['old', LEGACY],
      ['seats', CONTRACT],
    ] as const)
      writeFileSync(join(catalog, `aws-${name}.yaml`), text.replace('4harborobjectcells0000000', code));
    return {
      ...super.environment(),
      BERTH_CATALOG: catalog,
      AWS_PRODUCT_CODES: `4harborobjectcells0000000,${LEGACY},${CONTRACT}`,
      AWS_LEGACY_PRODUCTS: `${LEGACY},${CONTRACT}`,
      AWS_CONTRACT_PRODUCTS: `${CONTRACT}=seats`,
      AWS_SNS_TOPICS: `${TOPIC},${SEATS_TOPIC}`,
      AWS_SQS_QUEUE_URLS: `${this.sandbox.url}/aws/sqs/999900001111/${QUEUE}`,
    };
  }
}
