import { describe, expect, it } from 'vitest';
import { envelopeOf } from './envelope.js';
import { noticeOf } from './notices.js';

const told = (detailType: string, detail: object = {}) =>
  noticeOf(envelopeOf(JSON.stringify({ id: 'e-1', source: 'aws.agreement-marketplace', 'detail-type': detailType, detail }))!);

describe('what is told of spending', () => {
  it.each(['', ' - Proposer', ' - Manufacturer'])('is for people under either form of its name%s [AW-129]', (role) => {
    const agreement = { agreement: { id: 'agmt-a' }, limit: 500 };
    for (const name of ['Vet', 'Spend Vet', 'Purchase Agreement Spend Vet']) {
      expect(told(`${name} Failed${role}`, agreement), name).toMatchObject({ kind: 'spend', state: 'open', status: 'Vet Failed' });
      expect(told(`${name} Succeeded${role}`, agreement), name).toMatchObject({ kind: 'spend', state: 'closed', status: 'Vet Succeeded' });
    }
    for (const name of ['Spend Threshold Reached', 'Threshold Reached'])
      expect(told(`${name}${role}`, agreement), name).toMatchObject({
        kind: 'spend',
        state: 'open',
        status: 'Threshold Reached',
        externalId: 'e-1',
        detail: { id: 'agmt-a', limit: '500' },
      });
  });

  it('is one matter from a failed vetting to one that succeeds [AW-129]', () => {
    const detail = { agreement: { id: 'agmt-a' } };
    const [failed, mended] = [told('Vet Failed', detail), told('Spend Vet Succeeded', detail)];
    expect(failed!.externalId).toBe(mended!.externalId);
    expect(told('Vet Failed', { agreement: { id: 'agmt-b' } })!.externalId).not.toBe(failed!.externalId);
  });

  it('is nothing else that ends alike [AW-129]', () => {
    for (const name of ['Velvet Failed', 'License Updated', 'Vet Failed Again']) expect(told(name), name).toBeNull();
  });
});
