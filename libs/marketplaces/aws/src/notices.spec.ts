import { describe, expect, it } from 'vitest';
import { envelopeOf } from './envelope.js';
import { noticeOf } from './notices.js';

const told = (detailType: string, detail: object = {}) =>
  noticeOf(envelopeOf(JSON.stringify({ id: 'e-1', source: 'aws.agreement-marketplace', 'detail-type': detailType, detail }))!);

describe('what is told of a correction of a bill', () => {
  const adjusted = (word: string, fields: object, name = 'billingAdjustmentRequest') =>
    told(`Purchase Agreement Billing Adjustment ${word} - Proposer`, { agreement: { id: 'agmt-a' }, [name]: fields });

  it('is read with its invoice and what was given back, in the names of the API and in shorter ones', () => {
    const wanted = { outcome: 'completed', invoiceReference: 'inv-7', amount: '12.50', currency: 'USD', reason: null };
    const api = { id: 'ba-1', originalInvoiceId: 'inv-7', adjustmentAmount: '12.50', currencyCode: 'USD' };
    expect(adjusted('Completed', api)).toMatchObject({ externalId: 'ba-1', state: 'closed', adjustment: wanted });
    const short = { billingAdjustmentRequestId: 'ba-1', invoiceId: 'inv-7', amount: '-12.50', currency: 'usd' };
    expect(adjusted('Completed', short, 'billingAdjustment')).toMatchObject({ externalId: 'ba-1', adjustment: wanted });
    expect(adjusted('Failed', { ...api, statusMessage: 'the invoice is paid out' })).toMatchObject({
      state: 'open',
      adjustment: { outcome: 'failed', reason: 'the invoice is paid out' },
    });
  });

  it.each([['0.00'], ['1e3'], ['twelve'], [null], [{}]])('names no amount that is none: %s', (adjustmentAmount) => {
    expect(adjusted('Completed', { id: 'ba-1', adjustmentAmount })!.adjustment).toMatchObject({ amount: null });
  });

  it('decides nothing before its last word', () => {
    expect(adjusted('Pending', { id: 'ba-1' })!.adjustment).toBeUndefined();
  });
});

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
