import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { House, until } from './support/house.js';

const BUYERS = 50;

interface View {
  planId: string;
  operations: { action: string; status: string; createdAt: string; decidedBy: string | null }[];
  webhooks: { action: string; attempts: { at: string; status: number | null; tookMs: number }[] }[];
}
const changeOf = (view: View) => view.operations.find((one) => one.action === 'ChangePlan');

/** Contract azure §4: an answer counts for ten seconds, then the change is accepted for us. Over HTTP, with real webhooks. */
describe('fifty buyers who change their plan at once', () => {
  const house = new House();
  let ids: string[] = [];
  beforeAll(async () => {
    await house.start();
    const bought = await Promise.all(
      Array.from({ length: BUYERS }, (_, i) =>
        house.shop('POST', '/azure/purchases', {
          offerId: 'object-cells',
          planId: 'standard',
          subscriptionName: `Buyer ${i}`,
          autoActivate: true,
        }),
      ),
    );
    ids = bought.map((one) => String(one.json['subscriptionId']));
    // Known and in force; that their storage is still being set up must not keep a decision waiting.
    await until(
      () => house.list('subscriptions'),
      (rows) => rows.filter((s) => s['state'] === 'active').length === BUYERS,
    );
  }, 90_000);
  afterAll(() => house.stop(), 60_000);

  it('are all answered within two seconds, each once [AZ-84]', async () => {
    const asked = await Promise.all(ids.map((id) => house.shop('POST', `/azure/subscriptions/${id}/change-plan`, { planId: 'premium' })));
    expect(asked.map((a) => a.status)).toEqual(ids.map(() => 202));
    const views = await until(
      async () => (await house.shop('GET', '/azure/subscriptions')).json.items as unknown as View[],
      (all) => all.every((view) => changeOf(view)?.status === 'Succeeded'),
    );
    expect(views).toHaveLength(BUYERS);
    const answers = views.map((view) => view.webhooks.filter((one) => one.action === 'ChangePlan').flatMap((one) => one.attempts));
    expect(answers.map((attempts) => attempts.map((one) => one.status))).toEqual(ids.map(() => [200]));
    const waited = views.map((view, i) => Date.parse(answers[i]![0]!.at) + answers[i]![0]!.tookMs - Date.parse(changeOf(view)!.createdAt));
    // The bound for all of them, not a benchmark.
    expect(Math.max(...waited)).toBeLessThan(2_000);
    // By our word and not by the marketplace's own when nobody answers.
    expect(views.map((view) => changeOf(view)!.decidedBy)).toEqual(ids.map(() => 'patch'));
    expect(views.map((view) => view.planId)).toEqual(ids.map(() => 'premium'));
  }, 60_000);
});
