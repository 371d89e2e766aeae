import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { House } from './support/house.js';
import { oddRequests, type Description } from './support/odd-requests.js';

const AT_ONCE = 8;
const house = new House();
const ids = new Map<string, string>();

beforeAll(async () => {
  await house.start();
  const bought = await house.buy('Odd data');
  await house.land(bought.sessionId, 'Odd Observatory');
  for (const list of ['subscriptions', 'tenants', 'placements', 'clusters', 'operations']) {
    const [first] = (await house.api('GET', `/${list}`)).json.items as Record<string, unknown>[];
    const id = first?.['id'] ?? first?.[`${list.slice(0, -1)}Id`];
    if (typeof id === 'string') ids.set(`/api/v1/${list}/`, id);
  }
}, 60_000);
afterAll(() => house.stop(), 30_000);

describe('odd input at every described route', () => {
  it('is taken or refused by a stable code, and never fails on our side', async () => {
    expect([...ids.keys()]).toHaveLength(5);
    const description = (await house.call('GET', `${house.controlPlane.url}/openapi.json`)).json as unknown as Description;
    const requests = oddRequests(description, (before) => ids.get(before) ?? null);
    const failed: string[] = [];
    let sent = 0;
    let refused = 0;
    const ask = async (): Promise<void> => {
      for (const { method, path, body } of requests) {
        const bearer = { authorization: `Bearer ${house.key}` };
        const answer = await house.call(method.toUpperCase(), `${house.controlPlane.url}${path}`, bodyOf(body), {
          ...bearer,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        });
        sent += 1;
        if (answer.status >= 400) refused += 1;
        const coded = answer.status < 400 || /^\/landing\/(?!api\/)/.test(path) || typeof answer.json['code'] === 'string';
        if (answer.status >= 500 || !coded)
          failed.push(
            `${answer.status} ${method} ${path.slice(0, 120)} ${JSON.stringify(body)?.slice(0, 200)}: ${answer.text.slice(0, 200)}`,
          );
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, ask));
    expect(failed).toEqual([]);
    expect(sent).toBeGreaterThan(2_000);
    expect(refused).toBeGreaterThan(sent / 2);
    expect((await house.api('GET', '/subscriptions')).status).toBe(200);
  }, 120_000);
});

const bodyOf = (body: unknown): string | undefined => (body === undefined ? undefined : JSON.stringify(body));
