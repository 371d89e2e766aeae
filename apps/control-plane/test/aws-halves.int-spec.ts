import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { subscriptionIdOf } from '#entitlements';
import { requestPlacement } from '../src/processes/provision-purchase.js';
import { AwsFlows } from './support/aws-flows.js';
import { Story } from './support/aws-story.js';

const at = (time: string): Date => new Date(`2026-03-10T${time}:00Z`);
const START = at('10:00');

describe('the halves of an AWS purchase', () => {
  let f: AwsFlows;
  beforeEach(async () => {
    f = await AwsFlows.open(START);
  });
  afterEach(() => f?.close());

  const placements = (): Promise<object[]> => f.rows('select subscription_id, phase from placements');
  const expectServing = async (licence: string): Promise<void> => {
    expect((await f.get(licence)).state).toBe('active');
    expect(await placements()).toEqual([{ subscription_id: subscriptionIdOf('aws', licence), phase: 'active' }]);
  };

  it('are both needed: a landing alone sets up nothing, and the licence later does without another visit [AW-123]', async () => {
    const s = new Story();
    await f.register(s[1].licence, s.accountId);
    await f.event(s.created(1, START));
    await f.until(at('12:00'));
    expect((await f.get(s[1].licence)).tenantId).not.toBeNull();
    expect(await placements()).toEqual([]);
    await f.event(s.licensed(1, at('12:00')));
    await f.until(at('12:01'));
    await expectServing(s[1].licence);
  });

  it('are both needed: a licence alone sets up nothing, and the landing later does [AW-123]', async () => {
    const s = new Story();
    await f.event(s.licensed(1, START));
    await f.until(at('12:00'));
    expect(await placements()).toEqual([]);
    await f.register(s[1].licence, s.accountId);
    await f.until(at('12:01'));
    await expectServing(s[1].licence);
  });

  it('of a purchase with a later start come together on its day, or after it [AW-123]', async () => {
    const s = new Story();
    await f.event(s.licensed(2, START));
    await f.register(s[1].licence, s.accountId);
    await f.event(s.created(1, at('14:00'), START));
    await f.until(at('14:30'));
    expect(await placements()).toEqual([]);
    await f.event(s.licensed(1, at('14:30')));
    await f.until(at('14:31'));
    await expectServing(s[1].licence);
  });

  it('that both came set up one place, whatever is repeated [AW-123]', async () => {
    const s = new Story();
    await f.register(s[1].licence, s.accountId);
    for (const event of [s.licensed(1, START), s.licensed(1, START)]) await f.event(event);
    await f.until(START);
    const subscriptionId = subscriptionIdOf('aws', s[1].licence);
    await requestPlacement(f.p, { subscriptionId }, { completeIn: () => Promise.resolve() } as never);
    await f.until(at('10:01'));
    await expectServing(s[1].licence);
  });
});
