import { randomBytes, randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { listNotices, listRenewals, subscriptionIdOf, withAdvisory, type NoticeRow } from '#entitlements';
import { listCredits } from '#metering';
import { toPublicId } from '#platform';
import type { Principal } from '#tenancy';
import { NoticesController } from '../src/http/api/notices.controller.js';
import { AwsFlows, PRODUCT } from './support/aws-flows.js';

const at = (time: string): Date => new Date(`2026-03-10T${time}:00Z`);
const START = at('10:00');

/** Contract aws §4.1: events that people must see or answer, and that change nothing of the purchase. */
describe('what AWS tells people', () => {
  let f: AwsFlows;
  const licence = `l-${randomBytes(16).toString('hex')}`;
  const agreement = `agmt-${randomUUID()}`;
  const accountId = '123456789012';
  beforeEach(async () => {
    f = await AwsFlows.open(START);
  });
  afterEach(() => f?.close());

  const tell = (type: string, time: Date, detail: object, id: string = randomUUID()): Promise<unknown> =>
    f.event({
      version: '0',
      id,
      'detail-type': type,
      source: 'aws.agreement-marketplace',
      time,
      detail: {
        acceptor: { accountId },
        proposer: { accountId: '999900001111' },
        offer: { id: 'offer-x' },
        agreement: { id: agreement },
        ...detail,
      },
    });
  const serve = async (): Promise<string> => {
    await tell('License Updated - Manufacturer', START, {
      product: { code: PRODUCT, id: 'prod-x' },
      license: { arn: `aws:license-manager:us-east-1:294400000000:${licence}` },
    });
    await f.until(START);
    await f.register(licence, accountId);
    await f.until(at('10:01'));
    expect((await f.get(licence)).state).toBe('active');
    return subscriptionIdOf('aws', licence);
  };
  const notices = (kind: NoticeRow['kind'] | null = null, state: 'open' | 'closed' | null = null): Promise<NoticeRow[]> =>
    f.ops(async (tx) => (await listNotices(tx, { kind, state, subscriptionId: null }, { limit: 50, after: null })).items);
  const request = (word: string, time: Date, id = 'acr-1'): Promise<unknown> =>
    tell(`Agreement Cancellation Request ${word} - Proposer`, time, {
      agreementCancellationRequest: { id, reasonCode: 'OTHER', reasonMessage: 'a move', statusCode: word, createdAt: at('10:00') },
    });

  it('a warning about a buyer is a flag, service goes on, and the all-clear takes it away [AW-22]', async () => {
    const id = await serve();
    await tell('Purchase Agreement Advisory Issued - Manufacturer', at('11:00'), { advisory: { issuedAt: at('11:00') } });
    await f.until(at('11:01'));
    expect(await f.ops((tx) => withAdvisory(tx, [id]))).toEqual(new Set([id]));
    expect((await f.get(licence)).state).toBe('active');
    await tell('Purchase Agreement Advisory Resolved - Manufacturer', at('12:00'), { advisory: { resolvedAt: at('12:00') } });
    await f.until(at('12:01'));
    expect(await f.ops((tx) => withAdvisory(tx, [id]))).toEqual(new Set());
    expect(await notices('advisory')).toMatchObject([{ state: 'closed', status: 'Resolved', subscription_id: id }]);
  });

  it('a request to cancel waits in a queue until AWS approves it by itself after seven days [AW-23]', async () => {
    const id = await serve();
    await request('Pending Approval', at('10:30'));
    await f.until(at('10:31'));
    expect(await notices('cancellation_request', 'open')).toMatchObject([
      {
        external_id: 'acr-1',
        subscription_id: id,
        due_at: new Date('2026-03-17T10:00:00Z'),
        detail: { reasonCode: 'OTHER', reasonMessage: 'a move' },
      },
    ]);
    expect((await f.get(licence)).state).toBe('active');
    await request('Rejected', at('11:00'));
    await f.until(at('11:01'));
    expect(await notices('cancellation_request', 'open')).toEqual([]);
  });

  it('a request that nobody answers is closed after the seven days as approved by AWS; its next word still holds [AW-23]', async () => {
    await serve();
    await request('Pending Approval', at('10:30'));
    await f.until(at('10:31'));
    await f.until(new Date('2026-03-17T09:50:00Z'));
    expect(await notices('cancellation_request', 'open')).toHaveLength(1);
    await f.until(new Date('2026-03-17T10:00:00Z'));
    expect(await notices('cancellation_request')).toMatchObject([
      { state: 'closed', status: 'Approved by AWS', closed_by: 'control plane', closed_reason: 'unanswered until 2026-03-17T10:00:00Z' },
    ]);
    expect(await f.rows(`select actor, detail ->> 'externalId' as id from audit_events where action = 'notice.closed'`)).toEqual([
      { actor: 'control plane', id: 'acr-1' },
    ]);
    await request('Approved', new Date('2026-03-17T10:01:00Z'));
    await f.until(new Date('2026-03-17T10:02:00Z'));
    expect(await notices('cancellation_request')).toMatchObject([{ status: 'Approved', closed_by: null, closed_reason: null }]);
  });

  it('is taken by one person at a time, closed with a reason, and opened again by a newer word; all with who [AW-135]', async () => {
    await serve();
    const advise = (word: string, time: Date): Promise<unknown> =>
      tell(`Purchase Agreement Advisory ${word} - Manufacturer`, time, { advisory: { issuedAt: time } });
    await advise('Issued', at('11:00'));
    await f.until(at('11:01'));
    const controller = new NoticesController(f.db, f.clock, f.p.audit);
    const [ada, bob] = ['ada', 'bob'].map((keyId) => ({ kind: 'operator', keyId, name: keyId }) as Principal);
    const [{ notice_id: noticeId }] = (await notices()) as [NoticeRow];
    const id = toPublicId('ntc', noticeId);
    const listed = async (who: Principal, taken: string): Promise<number> =>
      ((await controller.list(who, { taken })) as { items: unknown[] }).items.length;
    expect(await listed(ada!, 'nobody')).toBe(1);
    expect(await controller.take(ada!, id, undefined)).toMatchObject({ takenBy: 'ada', state: 'open' });
    await expect(controller.take(bob!, id, {})).rejects.toMatchObject({ code: 'notice.taken' });
    expect([await listed(ada!, 'mine'), await listed(bob!, 'mine'), await listed(ada!, 'nobody')]).toEqual([1, 0, 0]);
    expect(await controller.take(bob!, id, { takeOver: true })).toMatchObject({ takenBy: 'bob' });
    expect(await controller.close(bob!, id, { reason: 'spoke with the buyer' })).toMatchObject({
      state: 'closed',
      status: 'Issued',
      closedBy: 'bob',
      closedReason: 'spoke with the buyer',
    });
    for (const again of [() => controller.take(ada!, id, {}), () => controller.close(ada!, id, { reason: 'once more' })])
      await expect(again()).rejects.toMatchObject({ code: 'notice.closed' });
    // The same word again changes nothing, a newer one does.
    await advise('Issued', at('11:00'));
    await f.until(at('11:02'));
    expect(await notices(null, 'open')).toEqual([]);
    await advise('Issued', at('12:00'));
    await f.until(at('12:01'));
    expect(await notices(null, 'open')).toMatchObject([{ taken_by: 'bob', closed_by: null }]);
    const trail = await f.rows(
      `select actor, action, detail ->> 'from' as from from audit_events where action like 'notice.%' order by audit_event_id`,
    );
    expect(trail).toEqual([
      { actor: 'operator:ada', action: 'notice.taken', from: null },
      { actor: 'operator:bob', action: 'notice.taken', from: 'ada' },
      { actor: 'operator:bob', action: 'notice.closed', from: null },
    ]);
  });

  it('the newest word holds, in whatever order they come, and once more changes nothing', async () => {
    await serve();
    await request('Approved', at('12:00'));
    await request('Pending Approval', at('10:30'));
    await request('Approved', at('12:00'));
    // Two words of one instant: what closes it holds.
    await request('Pending Approval', at('13:00'), 'acr-2');
    await request('Cancelled', at('13:00'), 'acr-2');
    await request('Cancelled', at('14:00'), 'acr-3');
    await request('Pending Approval', at('14:00'), 'acr-3');
    await f.until(at('14:01'));
    expect((await notices('cancellation_request')).map((n) => [n.external_id, n.status]).sort()).toEqual([
      ['acr-1', 'Approved'],
      ['acr-2', 'Cancelled'],
      ['acr-3', 'Cancelled'],
    ]);
  });

  it('what is said of an agreement before its licence is known finds its purchase later', async () => {
    await request('Pending Approval', at('10:00'));
    await f.until(at('10:00'));
    expect(await notices()).toMatchObject([{ subscription_id: null, external_ref: agreement, state: 'open' }]);
    const id = await serve();
    expect(await notices()).toMatchObject([{ subscription_id: id }]);
  });

  it('renewals stand in a calendar with what was announced, and leave it with their agreement [AW-24]', async () => {
    const id = await serve();
    const endTime = new Date('2026-05-01T00:00:00Z');
    await tell('Purchase Agreement Amended - Proposer', at('10:10'), {
      agreement: { id: agreement, intent: 'AMEND', status: 'ACTIVE', endTime, autoRenewalEnabled: true },
    });
    await tell('Purchase Agreement Ending - Proposer', at('10:20'), { agreement: { id: agreement, endTime } });
    await f.until(at('10:30'));
    const calendar = (days: number) =>
      f.ops((tx) => listRenewals(tx, { from: f.clock.now(), to: new Date(f.clock.now().getTime() + days * 86_400_000), limit: 10 }));
    expect(await calendar(30)).toEqual([]);
    expect(await calendar(90)).toMatchObject([{ subscription_id: id, term_ends_at: endTime, ends_at: null, announced: 'Ending' }]);
    await tell('Purchase Agreement Ended - Proposer', at('11:00'), { agreement: { id: agreement, status: 'CANCELLED' } });
    await f.until(at('11:01'));
    expect(await notices('renewal', 'open')).toEqual([]);
    expect(await calendar(90)).toEqual([]);
  });

  it('a correction of a bill that failed stays open for a person [AW-25]', async () => {
    await serve();
    const adjusted = (word: string, id: string) =>
      tell(`Purchase Agreement Billing Adjustment ${word} - Proposer`, at('10:40'), { billingAdjustment: { id, amount: '12.00' } });
    await adjusted('Failed', 'adj-1');
    await adjusted('Completed', 'adj-2');
    await f.until(at('10:41'));
    expect((await notices('billing_adjustment')).map((n) => [n.external_id, n.state]).sort()).toEqual([
      ['adj-1', 'open'],
      ['adj-2', 'closed'],
    ]);
  });

  describe('a correction of a bill that credits of ours wait for', () => {
    let id: string;
    beforeEach(async () => {
      id = await serve();
    });
    const credit = async (invoice: string, units: string): Promise<string> =>
      f.ops(async (tx) => {
        const [s] = await tx.query<{ tenant_id: string }>('select tenant_id from subscriptions where subscription_id = $1', [id]);
        const opened = await f.p.metering.openCredit(tx, {
          tenantId: s!.tenant_id,
          subscriptionId: id,
          findingId: null,
          recordId: null,
          dimension: 'mib_egress',
          hour: START,
          units,
          reference: invoice,
          reason: 'counted twice',
          by: 'ada-1',
        });
        return opened.creditId;
      });
    const states = async (): Promise<string[]> =>
      (await f.ops((tx) => listCredits(tx, { limit: 10, after: null, subscriptionId: id }))).items.map(
        (c) => `${c.invoice_reference} ${c.state} ${(c.outcome?.['amount'] as string | undefined) ?? '-'} ${c.external_reference ?? '-'}`,
      );
    const adjusted = async (word: string, request: object, minute: number, eventId?: string): Promise<void> => {
      const time = new Date(at('11:00').getTime() + minute * 60_000);
      await tell(`Purchase Agreement Billing Adjustment ${word} - Proposer`, time, { billingAdjustmentRequest: request }, eventId);
      await f.until(new Date(time.getTime() + 30_000));
    };
    const of = (ba: string, invoice: string, amount: string | null, currencyCode = 'USD') => ({
      id: ba,
      originalInvoiceId: invoice,
      ...(amount === null ? {} : { adjustmentAmount: amount, currencyCode }),
    });

    it('ends them, once, with what AWS gave; a failed one may be asked for again', async () => {
      const [done, refused] = [await credit('inv-1', '3'), await credit('inv-2', '4')];
      const event = randomUUID();
      for (let times = 0; times < 2; times++) await adjusted('Completed', of('ba-1', 'inv-1', '1.25'), 1, event);
      await adjusted('Failed', { ...of('ba-2', 'inv-2', '2.00'), statusMessage: 'the invoice is closed' }, 2);
      // Another message of the same matter, and one that contradicts it, change nothing any more.
      await adjusted('Completed', of('ba-1', 'inv-1', '1.25'), 3);
      await adjusted('Failed', of('ba-1', 'inv-1', '1.25'), 4);
      expect(await states()).toEqual(['inv-1 completed 1.25 ba-1', 'inv-2 failed - ba-2']);
      const rows = (await f.ops((tx) => listCredits(tx, { limit: 10, after: null, creditId: refused }))).items;
      expect(rows[0]!.outcome).toEqual({ reference: 'ba-2', by: 'aws', note: 'the invoice is closed' });
      const audit = await f.ops((tx) =>
        tx.query<{ actor: string; action: string; subject: string }>(
          `select actor, action, subject from audit_events where action like 'credit.%' order by at`,
        ),
      );
      expect(audit).toEqual([
        { actor: 'marketplace:aws', action: 'credit.completed', subject: `credit:${done}` },
        { actor: 'marketplace:aws', action: 'credit.failed', subject: `credit:${refused}` },
      ]);
      await credit('inv-2', '4');
      await adjusted('Completed', of('ba-3', 'inv-2', '2.00'), 5);
      expect(await states()).toEqual(['inv-1 completed 1.25 ba-1', 'inv-2 failed - ba-2', 'inv-2 completed 2.00 ba-3']);
    });

    it('that could mean several, or tells no amount, is left to a person and stays open; by the amount it is told apart', async () => {
      for (const units of ['3', '4']) await credit('inv-1', units);
      await adjusted('Completed', of('ba-1', 'inv-1', '9.99'), 1);
      expect(await states()).toEqual(['inv-1 open - -', 'inv-1 open - -']);
      expect(await notices('billing_adjustment', 'open')).toMatchObject([
        { external_id: 'ba-1', detail: { undecided: expect.stringContaining('2 open credits') as string } },
      ]);
      await f.ops((tx) => tx.query(`update credits set amount = units / 2, currency = 'USD' where subscription_id = $1`, [id]));
      await adjusted('Completed', of('ba-2', 'inv-1', '2.00'), 2);
      expect(await states()).toEqual(['inv-1 open - -', 'inv-1 completed 2.00 ba-2']);
      await adjusted('Completed', of('ba-3', 'inv-1', null), 3);
      expect((await states())[0]).toBe('inv-1 open - -');
      expect((await notices('billing_adjustment', 'open')).map((n) => n.external_id).sort()).toEqual(['ba-1', 'ba-3']);
    });

    it('of another purchase or invoice ends none', async () => {
      await credit('inv-1', '3');
      await adjusted('Completed', of('ba-1', 'inv-9', '1.50'), 1);
      await tell('Purchase Agreement Billing Adjustment Completed - Proposer', at('11:10'), {
        agreement: { id: `agmt-${randomUUID()}` },
        billingAdjustmentRequest: of('ba-2', 'inv-9', '1.50'),
      });
      await f.until(at('11:11'));
      expect(await states()).toEqual(['inv-1 open - -']);
    });
  });
});
