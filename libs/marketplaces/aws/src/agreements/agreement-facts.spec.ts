import { describe, expect, it } from 'vitest';
import { AGREEMENT, BUYER, LICENCE, PRODUCT, RESOLVED_ARN, stored } from '../../test/support/messages.js';
import { normalise } from '../normalise.js';
import { joinRefs, readRefs, truthOfRefs } from '../refs.js';
import { type AgreementView, factsOfAll } from './agreement-facts.js';
import { predecessorIn } from './agreement-truth.js';

const NOW = new Date('2026-11-20T12:00:00Z');
const view = (over: Partial<AgreementView> = {}): AgreementView => ({
  agreementId: AGREEMENT,
  agreementType: 'PurchaseAgreement',
  status: 'ACTIVE',
  acceptor: { accountId: BUYER },
  proposer: { accountId: '999900001111' },
  acceptanceTime: new Date('2026-11-20T10:00:00Z'),
  startTime: new Date('2026-11-20T10:00:00Z'),
  lastUpdateTime: new Date('2026-11-20T10:00:00Z'),
  initialAgreementId: AGREEMENT,
  proposalSummary: { offerId: 'offer-x', resources: [{ id: 'prod-example', type: 'SaaSProduct' }] },
  entitlements: [{ licenseArn: RESOLVED_ARN }],
  ...over,
});
const facts = (...views: AgreementView[]) => factsOfAll(views, LICENCE, NOW, (id) => (id === 'prod-example' ? PRODUCT : null));

describe('what the Agreement API tells of a licence', () => {
  it('is what the lost License Updated would have told: in force from the start on, not before [AW-40]', () => {
    expect(facts(view())).toMatchObject({
      licensed: true,
      accountId: BUYER,
      productCode: PRODUCT,
      agreementIds: [AGREEMENT],
      endedAt: null,
    });
    expect(facts(view({ startTime: new Date('2026-11-21T00:00:00Z') })).licensed).toBe(false);
    expect(facts(view({ entitlements: [] })).licensed, 'a licence that is not listed is not in force').toBe(false);
    expect(truthOfRefs(facts(view()), NOW).state).toBe('pending_fulfillment');
  });

  it('ends with a final status only; RENEWED and REPLACED are supersession, what is unknown is nothing [AW-41]', () => {
    const at = new Date('2026-11-20T11:00:00Z');
    const ended = (status: string, over: Partial<AgreementView> = {}) =>
      facts(view({ status: status as never, lastUpdateTime: at, ...over }));
    for (const status of ['CANCELLED', 'TERMINATED'])
      expect(ended(status)).toMatchObject({ endedAt: at.toISOString(), endedStatus: status, finalStatus: { value: status } });
    const endTime = new Date('2026-11-20T10:30:00Z');
    expect(ended('EXPIRED', { endTime }).endedAt, 'a term that ran out ends with the term').toBe(endTime.toISOString());
    expect(ended('CANCELLED', { endTime: new Date('2027-11-20T10:00:00Z') }).endedAt).toBe(at.toISOString());
    for (const status of ['RENEWED', 'REPLACED', 'SUPERSEDED'])
      expect(ended(status)).toMatchObject({ endedAt: null, superseded: { value: status } });
    for (const status of ['ARCHIVED', 'ROLLED_BACK', 'POLISHED']) expect(ended(status)).toMatchObject({ endedAt: null, superseded: null });
  });

  it('goes on as long as one agreement of the licence does [AW-41]', () => {
    const over = view({ agreementId: 'agmt-before', status: 'CANCELLED' });
    expect(facts(over, view())).toMatchObject({ endedAt: null, finalStatus: null, agreementIds: [AGREEMENT, 'agmt-before'].sort() });
    expect(facts(over)).toMatchObject({ endedStatus: 'CANCELLED' });
  });

  it('never undoes what a message told: an end stays, and the same in any order [AW-41]', () => {
    const event = normalise(stored({ type: 'License Deprovisioned - Manufacturer', time: '2026-11-20T11:30:00Z' }))[0]!;
    const told = readRefs(event.truth!.refs)!;
    expect(joinRefs(told, facts(view()))).toMatchObject({ endedAt: '2026-11-20T11:30:00.000Z', endedStatus: 'DEPROVISIONED' });
    expect(joinRefs(facts(view()), told)).toEqual(joinRefs(told, facts(view())));
  });

  it('reads a broken row without breaking', () => {
    const broken = { entitlements: [{ licenseArn: RESOLVED_ARN }], startTime: new Date(Number.NaN), status: undefined } as never;
    expect(facts(broken)).toMatchObject({ licensed: false, endedAt: null, productCode: null, agreementIds: [] });
  });
});

describe('the predecessor in a chain of renewals [AW-43]', () => {
  const link = (agreementId: string, day: number, over: Partial<AgreementView> = {}): AgreementView =>
    view({ agreementId, acceptanceTime: new Date(Date.UTC(2026, 10, day)), ...over });
  const chain = [link('agmt-3', 3), link('agmt-1', 1), link('agmt-2', 2)];

  it('is the youngest that was accepted before', () => {
    expect(predecessorIn(chain, 'agmt-3', BUYER)).toBe('agmt-2');
    expect(predecessorIn(chain, 'agmt-1', BUYER)).toBeNull();
    expect(predecessorIn(chain, 'agmt-9', BUYER)).toBeNull();
  });

  it('is nobody of another buyer or product, and nobody where two could be', () => {
    expect(predecessorIn([chain[0]!, link('agmt-2', 2, { acceptor: { accountId: '444455556666' } })], 'agmt-3', BUYER)).toBeNull();
    const other = { proposalSummary: { resources: [{ id: 'prod-other', type: 'SaaSProduct' }] } };
    expect(predecessorIn([chain[0]!, link('agmt-2', 2, other)], 'agmt-3', BUYER)).toBeNull();
    expect(predecessorIn([...chain, link('agmt-2b', 2)], 'agmt-3', BUYER)).toBeNull();
  });
});

describe('who sold it [AW-45] [AW-51]', () => {
  const refsOf = (type: string, detail: Record<string, unknown>) =>
    readRefs(normalise(stored({ type, time: '2026-11-20T10:00:00Z', detail }))[0]!.truth!.refs)!;
  const partner = { proposer: { accountId: '888800002222' }, resaleAuthorization: { id: 'resaleauthz-x' } };

  it('is a partner where the agreement is told to its manufacturer, or another account proposed it', () => {
    const sold = { resellerAccountId: '888800002222', resaleAuthorizationId: 'resaleauthz-x' };
    const told = refsOf('Purchase Agreement Created - Manufacturer', partner);
    expect(told).toMatchObject(sold);
    expect(truthOfRefs(told, NOW).reseller).toEqual({ accountId: '888800002222', authorizationId: 'resaleauthz-x' });
    expect(refsOf('License Updated - Manufacturer', { proposer: partner.proposer })).toMatchObject({
      resellerAccountId: '888800002222',
      resaleAuthorizationId: null,
    });
  });

  it('is nobody else for an offer of our own, whatever the role of a licence', () => {
    expect(truthOfRefs(refsOf('License Updated - Manufacturer', {}), NOW).reseller).toBeNull();
    for (const type of ['Purchase Agreement Created - Proposer', 'License Updated - Manufacturer'])
      expect(refsOf(type, {})).toMatchObject({ resellerAccountId: null, resaleAuthorizationId: null });
    expect(refsOf('Purchase Agreement Created - Proposer', { resaleAuthorization: null })).toMatchObject({ resellerAccountId: null });
  });
});
