import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sellerEnvironment } from '../../../scripts/lib/sandbox-shop.mjs';
import { House, until } from './support/house.js';

const DETAILS = { organisation: 'Winter Archive', region: 'local', contactName: 'Ada Winter', contactEmail: 'ada@winter.example' };
const STRANGER = '7c1d0e2f-3a4b-4c5d-8e6f-708192a3b4c5';

/** Contract azure §2 and architecture §5.4: the signed-in person is matched with the beneficiary, else a claim is approved. */
describe('signing in on the landing page', () => {
  let house: House;
  let beneficiary: string;
  beforeAll(async () => {
    house = await new House(async (url) => await sellerEnvironment(url, { signIn: true })).start();
    const settings = (await house.call('GET', `${house.sandbox.url}/sandbox/settings`)).json as unknown as {
      azure: { buyers: { beneficiary: { objectId: string } }[] };
    };
    beneficiary = settings.azure.buyers[0]!.beneficiary.objectId;
  }, 60_000);
  afterAll(() => house?.stop());

  const at = (path: string): string => `${house.controlPlane.url}${path}`;
  const begin = async (sessionId: string): Promise<{ authorize: string; cookie: string; setCookie: string }> => {
    const { signIn } = (await house.session(sessionId)).json as { signIn: { startUrl: string } };
    const started = await house.call('GET', at(signIn.startUrl));
    expect(started.status).toBe(303);
    const setCookie = started.headers.get('set-cookie')!;
    return { authorize: started.headers.get('location')!, cookie: setCookie.split(';')[0]!, setCookie };
  };
  /** Picks an account at the authority; the address it sends the browser to. */
  const pick = async (authorize: string, account: string): Promise<string> =>
    (await house.call('POST', authorize, new URLSearchParams({ account }))).headers.get('location')!;
  const back = async (callback: string, cookie?: string): Promise<string> =>
    (await house.call('GET', callback, undefined, cookie ? { cookie } : {})).headers.get('location')!;
  const signIn = async (sessionId: string, account: string): Promise<string> => {
    const { authorize, cookie } = await begin(sessionId);
    return (await back(await pick(authorize, account), cookie)).split('/').pop()!;
  };
  const details = (sessionId: string) => house.call('POST', at(`/landing/api/sessions/${sessionId}/details`), DETAILS);

  it('[AZ-80] lets the beneficiary in at once, on a visit of his own, and leaves the visit he came from as it was', async () => {
    const { sessionId } = await house.buy('Beneficiary');
    expect((await house.session(sessionId)).json).toMatchObject({
      state: 'needs_access',
      access: { state: 'needed' },
      signIn: { signedInAs: null },
      purchase: { beneficiaryEmail: null },
    });
    expect(await details(sessionId)).toMatchObject({ status: 403, json: { code: 'landing.access_needed' } });
    const own = await signIn(sessionId, beneficiary);
    expect(own).not.toBe(sessionId);
    expect((await house.session(own)).json).toMatchObject({ state: 'needs_details', access: { state: 'granted' }, signIn: null });
    expect(await details(own)).toMatchObject({ status: 202 });
    const ready = await until(
      () => house.session(own),
      (a) => a.json['state'] === 'ready',
    );
    expect((ready.json['endpoint'] as { keys: unknown[] }).keys).toHaveLength(1);
    // Who sent him the address of a visit sees nothing through it.
    expect((await house.session(sessionId)).json).toMatchObject({ state: 'needs_access', endpoint: null, tenant: null });
  }, 90_000);

  it('tells somebody else who he is, and the operator too: proved, as what he types is not', async () => {
    const { sessionId } = await house.buy('Somebody else');
    const own = await signIn(sessionId, STRANGER);
    expect((await house.session(own)).json).toMatchObject({
      state: 'needs_access',
      signIn: { signedInAs: 'visitor@elsewhere.example' },
    });
    expect(await details(own)).toMatchObject({ status: 403 });
    const asked = { name: 'Director', email: 'ines@tidewater.example', message: '' };
    expect((await house.call('POST', at(`/landing/api/sessions/${own}/claim`), asked)).status).toBe(202);
    const [claim] = (await house.api('GET', '/claims')).json.items!;
    expect(claim).toMatchObject({
      claimant: asked,
      namesBeneficiary: true,
      signedInAs: { username: 'visitor@elsewhere.example', sameDirectory: false },
    });
  });

  it('[AZ-81] takes an answer only in the browser that began: no cookie, another one’s, another state, twice', async () => {
    const lost = '/landing/problem?code=landing.sign_in_lost&marketplace=azure';
    const { sessionId } = await house.buy('Browsers');
    const [mine, other] = [await begin(sessionId), await begin(sessionId)];
    expect(mine.setCookie).toMatch(/HttpOnly; SameSite=Lax/);
    expect(mine.setCookie).not.toContain(sessionId);
    const answer = await pick(mine.authorize, beneficiary);
    expect(await back(answer)).toBe(lost);
    expect(await back(answer, other.cookie)).toBe(lost);
    expect(await back(answer.replace(/state=[^&]+/, 'state=guess'), mine.cookie)).toBe(lost);
    expect(await back(answer, mine.cookie.slice(0, -4))).toBe(lost);
    expect(await house.lastRefused()).toMatchObject({ source: 'azure.sign-in', code: 'landing.sign_in_lost' });
    expect(await back(answer, mine.cookie)).toMatch(/^\/landing\/s\/[\w-]{43}$/);
    expect(await back(answer, mine.cookie)).toBe(`/landing/s/${sessionId}?signIn=refused`);
    expect(await house.list('findings'), 'a code that is used up says nothing of our application').toEqual([]);
  });

  it('raises an alarm when Entra no longer takes our own application [AZ-28]', async () => {
    const { sessionId } = await house.buy('Alarm');
    const secret = async (clientSecret: string): Promise<unknown> =>
      house.shop('PUT', '/settings', { azure: { signIn: { clientSecret } } });
    const { signIn: kept } = (await house.shop('GET', '/settings')).json['azure'] as { signIn: { clientSecret: string } };
    await secret('rolled-over-yesterday');
    const { authorize, cookie } = await begin(sessionId);
    expect(await back(await pick(authorize, beneficiary), cookie)).toBe(`/landing/s/${sessionId}?signIn=refused`);
    await secret(kept.clientSecret);
    expect(await house.list('findings')).toMatchObject([
      { kind: 'secret_expiring', evidence: { marketplace: 'azure', what: expect.stringContaining('buyers sign in') } },
    ]);
  });

  it('leads back to the page when the person declines, and offers it on no other marketplace', async () => {
    const { sessionId } = await house.buy('Declined');
    const { authorize, cookie } = await begin(sessionId);
    expect(await back(await pick(authorize, ''), cookie)).toBe(`/landing/s/${sessionId}?signIn=declined`);
    expect(await house.call('GET', at('/landing/sign-in/start/unknown'))).toMatchObject({ status: 404 });
  });
});
