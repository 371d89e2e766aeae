import { randomBytes, randomUUID } from 'node:crypto';
import { PRODUCT } from './aws-flows.js';

/** One buyer's agreement and its renewal, with the events that AWS sends of both (contract aws §4.1). */
export class Story {
  readonly accountId = String(100_000_000_000 + Math.floor(Math.random() * 800_000_000_000));
  readonly [1] = { agreement: `agmt-${randomUUID()}`, licence: `l-${randomBytes(16).toString('hex')}` };
  readonly [2] = { agreement: `agmt-${randomUUID()}`, licence: `l-${randomBytes(16).toString('hex')}` };

  private event(type: string, time: Date, detail: object): object {
    const parties = { acceptor: { accountId: this.accountId }, proposer: { accountId: '999900001111' }, offer: { id: 'offer-x' } };
    return {
      version: '0',
      id: randomUUID(),
      'detail-type': type,
      source: 'aws.agreement-marketplace',
      time,
      detail: { ...detail, ...parties },
    };
  }
  created(n: 1 | 2, startTime: Date, time = startTime): object {
    const previous = n === 2 ? { intent: 'RENEW', previousAgreementId: this[1].agreement } : { intent: 'NEW' };
    return this.event('Purchase Agreement Created - Proposer', time, {
      agreement: { id: this[n].agreement, status: 'ACTIVE', startTime, ...previous },
    });
  }
  private licence(n: 1 | 2, type: string, time: Date): object {
    return this.event(`License ${type} - Manufacturer`, time, {
      agreement: { id: this[n].agreement },
      product: { code: PRODUCT, id: 'prod-x' },
      license: { arn: `aws:license-manager:us-east-1:294400000000:${this[n].licence}` },
    });
  }
  licensed(n: 1 | 2, time: Date): object {
    return this.licence(n, 'Updated', time);
  }
  deprovisioned(n: 1 | 2, time: Date): object {
    return this.licence(n, 'Deprovisioned', time);
  }
  ended(n: 1 | 2, status: string, time: Date): object {
    return this.event('Purchase Agreement Ended - Proposer', time, { agreement: { id: this[n].agreement, status } });
  }
}
