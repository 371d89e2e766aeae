import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { subscriptionIdOf } from '#entitlements';
import { arnOf, AwsFlows } from './support/aws-flows.js';
import { Story } from './support/aws-story.js';

const at = (time: string): Date => new Date(`2026-03-10T${time.length === 5 ? `${time}:00` : time}Z`);
const START = at('10:00');
/** What a unit stores, by the catalog. */
const UNIT = 134_217_728n;

describe('an AWS contract', () => {
  let f: AwsFlows;
  beforeEach(async () => {
    f = await AwsFlows.open(START, { contract: true });
  });
  afterEach(() => f?.close());

  const grant = (licence: string, nodes: number): unknown => f.metered.granted.set(arnOf(licence), nodes);
  /** Units as bought, as a quota grants them, and as the endpoint allows them. */
  async function units(licence: string): Promise<unknown[]> {
    const subscriptionId = subscriptionIdOf('aws', licence);
    const [quota] = await f.rows<{ hard_limit: string }>(
      `select hard_limit from quotas where subscription_id = $1 and name = 'storage_bytes' and ends_at is null`,
      [subscriptionId],
    );
    const [placement] = await f.rows<{ bytes: string }>(
      `select desired #>> '{limits,hardQuotaBytes}' as bytes from placements where subscription_id = $1`,
      [subscriptionId],
    );
    const ofBytes = (bytes: unknown): number => Number(BigInt(String(bytes)) / UNIT);
    return [(await f.get(licence)).quantity, ofBytes(quota!.hard_limit), ofBytes(placement!.bytes)];
  }
  async function serving(s: Story, nodes: number): Promise<void> {
    grant(s[1].licence, nodes);
    await f.event(s.created(1, START));
    await f.event(s.licensed(1, START));
    await f.until(START);
    await f.register(s[1].licence, s.accountId);
    await f.until(at('10:00:30'));
    expect(await units(s[1].licence)).toEqual([nodes, nodes, nodes]);
  }
  async function renewed(s: Story, time: Date): Promise<void> {
    for (const event of [s.created(2, time), s.licensed(2, time), s.ended(1, 'RENEWED', time)]) await f.event(event);
    await f.until(new Date(time.getTime() + 30_000));
    expect((await f.get(s[2].licence)).state).toBe('active');
    expect((await f.get(s[1].licence)).supersededBy).toBe(subscriptionIdOf('aws', s[2].licence));
  }
  const parked = () => f.rows(`select handler, last_error from tasks where state = 'parked'`);

  it('that is renewed for more units has them at once, without a landing [AW-121]', async () => {
    const s = new Story();
    await serving(s, 5);
    grant(s[2].licence, 8);
    await renewed(s, at('12:00'));
    expect(await units(s[2].licence)).toEqual([8, 8, 8]);
    expect((await f.get(s[2].licence)).marketplaceRefs).toMatchObject({ licenseArn: null, derivedArn: arnOf(s[2].licence) });
  });

  it('that is changed after such a renewal is read in the spelling of its predecessor [AW-121]', async () => {
    const s = new Story();
    await serving(s, 5);
    grant(s[2].licence, 5);
    await renewed(s, at('12:00'));
    grant(s[2].licence, 9);
    await f.event(s.licensed(2, at('12:10')));
    await f.until(at('12:10'));
    expect(await units(s[2].licence)).toEqual([9, 9, 9]);
  });

  for (const [what, down] of [
    ['does not answer', true],
    ['shows nothing of it yet', false],
  ] as const)
    it(`whose renewal comes while the service ${what} keeps what it had, and gets what it is told later [AW-122]`, async () => {
      const s = new Story();
      await serving(s, 5);
      f.metered.entitlementsAreDown = down;
      await renewed(s, at('12:00'));
      expect(await units(s[2].licence)).toEqual([5, 5, 5]);
      grant(s[2].licence, 3);
      f.metered.entitlementsAreDown = false;
      await f.until(at('12:05'));
      expect(await units(s[2].licence)).toEqual([3, 3, 3]);
      expect(await parked()).toEqual([]);
    });

  it('serves whoever lands while the service does not answer, and has its units as soon as it does [AW-122]', async () => {
    const s = new Story();
    f.metered.entitlementsAreDown = true;
    grant(s[1].licence, 4);
    await f.event(s.created(1, START));
    await f.event(s.licensed(1, START));
    await f.until(START);
    await f.register(s[1].licence, s.accountId);
    await f.until(at('10:00:30'));
    expect((await f.get(s[1].licence)).state).toBe('active');
    f.metered.entitlementsAreDown = false;
    await f.until(at('10:05'));
    expect(await units(s[1].licence)).toEqual([4, 4, 4]);
  });

  it('that is changed while the service does not answer is not forgotten, and its end waits for nothing [AW-122]', async () => {
    const s = new Story();
    await serving(s, 5);
    grant(s[1].licence, 7);
    f.metered.entitlementsAreDown = true;
    await f.event(s.licensed(1, at('11:00')));
    await f.until(at('11:00'));
    expect(await units(s[1].licence)).toEqual([5, 5, 5]);
    f.metered.entitlementsAreDown = false;
    await f.until(at('11:05'));
    expect(await units(s[1].licence)).toEqual([7, 7, 7]);
    f.metered.entitlementsAreDown = true;
    await f.event(s.deprovisioned(1, at('11:10')));
    await f.until(at('11:10'));
    expect((await f.get(s[1].licence)).state).toBe('closing');
    expect(await parked()).toEqual([]);
  });
});
