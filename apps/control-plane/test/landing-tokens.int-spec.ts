import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Sealer } from '#platform';
import { MarketplaceRefusal } from '#marketplaces/core';
import { openLanding, type LandingOpened } from '../src/processes/open-landing.js';
import { Flows } from './support/flows.js';

describe('a landing token', () => {
  let f: Flows;
  beforeEach(async () => {
    f = await Flows.open();
  });
  afterEach(() => f?.close());

  const open = (token: string): Promise<LandingOpened> =>
    openLanding(f.p, new Sealer('a secret of the tests'), 'azure', 'token', { token });
  const rows = (): Promise<unknown[]> => f.rows('select natural_key from inbox');

  it('that a stranger made up leaves no row for ever: one in the capped table of what was refused', async () => {
    for (const token of ['made up 1', 'made up 2']) expect(await open(token)).toMatchObject({ ok: false, code: 'landing.token_invalid' });
    expect(await rows()).toEqual([]);
    expect(await f.rows('select source, code, body_sample from refusals')).toEqual(
      Array(2).fill({ source: 'azure.landing', code: 'landing.token_invalid', body_sample: '' }),
    );
    // Nothing that waits to be acted on can be deleted, whoever asks; what is processed goes after its retention.
    const { token } = f.market.purchase();
    await open(token);
    await f.deliver(f.market.purchase().message);
    const waiting = await f.rows(`select natural_key from inbox where state <> 'processed'`);
    await f.rows('delete from inbox');
    expect(await rows()).toEqual(waiting);
    expect(waiting).toHaveLength(1);
  });

  it('of a plan of ours that is not mapped says that the plan is not ready, and a person is told', async () => {
    const { token } = f.market.purchase({ externalPlanId: 'not-mapped' });
    expect(await open(token)).toMatchObject({ ok: false, code: 'landing.plan_not_ready' });
    expect(await f.rows('select kind from findings')).toEqual([{ kind: 'unmapped_plan' }]);
    const foreign = f.market.purchase({ externalOfferId: 'somebody-elses' });
    expect(await open(foreign.token)).toMatchObject({ ok: false, code: 'landing.not_for_us' });
  });

  it('that our credentials cannot resolve raises the alarm [AZ-28]', async () => {
    f.market.resolveLanding = async () => ({
      ok: false,
      code: 'landing.unavailable',
      detail: 'no',
      refusal: new MarketplaceRefusal('azure.unauthorised', 'the secret is not taken', 401),
    });
    expect(await open('any')).toMatchObject({ ok: false, code: 'landing.unavailable' });
    expect(await f.rows('select kind from findings')).toEqual([{ kind: 'secret_expiring' }]);
  });
});
