import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { projectRoot } from '#platform';
import type { MeterTerms } from '#entitlements';
import { House, until } from './support/house.js';

const HOUR_MS = 3_600_000;
/** The shipped catalog, with two of Azure's dimensions sold by the most nodes at once and by calls, which an importer reports. */
function catalog(): string {
  const folder = mkdtempSync(join(tmpdir(), 'berth-catalog-'));
  cpSync(join(projectRoot(), 'catalog'), folder, { recursive: true });
  const file = join(folder, 'azure.yaml');
  const offer = parse(readFileSync(file, 'utf8')) as { plans: { meters: MeterTerms[] }[] };
  const otherwise: Partial<MeterTerms>[] = [
    { dimension: 'gib_hours_stored', meter: 'peak_nodes', metric: 'nodes', kind: 'max', listedUnit: 'node', basePerUnit: '1' },
    { dimension: 'mib_egress', meter: 'kilo_calls', metric: 'calls', kind: 'sum', listedUnit: '1,000 calls', basePerUnit: '1000' },
  ];
  for (const plan of offer.plans)
    plan.meters = otherwise.map((o) => ({ ...plan.meters.find((m) => m.dimension === o.dimension)!, ...o, decimals: 0, included: null }));
  writeFileSync(file, stringify(offer, { aliasDuplicateObjects: false }));
  return folder;
}

const folder = catalog();
const house = new House({ BERTH_CATALOG: folder });
let placementId: string;
let externalId: string;
let hour: number;

beforeAll(async () => {
  await house.start();
  const bought = await house.buy('Levels');
  externalId = bought.externalId;
  await house.land(bought.sessionId, 'Levels');
  const { now } = (await house.shop('GET', '/clock')).json;
  hour = Math.ceil(Date.parse(String(now)) / HOUR_MS) * HOUR_MS;
  // From then on this placement's usage is told by the importer and no more by its cell.
  const [bound] = await house.sql(
    `update usage_bindings b set valid_until = $1::timestamptz from subscriptions s
      where s.subscription_id = b.subscription_id and s.external_subscription_id = $2 and b.valid_until is null returning b.*`,
    [new Date(hour), externalId],
  );
  placementId = String(bound!['placement_id']);
  await house.sql(
    `insert into usage_bindings (placement_id, tenant_id, subscription_id, source, valid_from) values ($1, $2, $3, '/imports/nodes', $4)`,
    [placementId, bound!['tenant_id'], bound!['subscription_id'], new Date(hour)],
  );
  const { status, text } = await house.shop('POST', '/clock/advance', {
    seconds: (hour + HOUR_MS - Date.parse(String(now))) / 1_000 + 60,
    stepSeconds: 3_600,
  });
  expect(status, text).toBe(200);
}, 120_000);
afterAll(async () => {
  await house.stop();
  rmSync(folder, { recursive: true });
}, 30_000);

let sequence = 0;
const event = (minute: number, data: Record<string, string>): Record<string, unknown> => {
  sequence += 1;
  return {
    specversion: '1.0',
    id: `nodes.${sequence}`,
    source: '/imports/nodes',
    type: 'berth.sample.v1',
    time: new Date(hour + minute * 60_000).toISOString(),
    subject: `pla_${placementId}`,
    sequence: String(sequence),
    data,
  };
};
const post = async (events: unknown[]): Promise<Record<string, unknown>[]> =>
  (
    await house.call('POST', `${house.controlPlane.url}/api/v1/usage-events`, JSON.stringify(events), {
      authorization: `Bearer ${house.key}`,
      'content-type': 'application/cloudevents-batch+json',
    })
  ).json['results'] as never;

describe('what an importer tells of nodes and calls', () => {
  it('is billed by the marketplace as the most nodes at once and as the calls added up, and is explained', async () => {
    const nodes = [3, 3, 3, 8, 8, 2, 2, 2, 2, 2, 2, 5].map((n, i) => event(5 * i, { metric: 'nodes', kind: 'gauge', value: String(n) }));
    const calls = [
      event(1, { metric: 'calls', kind: 'delta', value: '1400' }),
      event(59, { metric: 'calls', kind: 'delta', value: '900' }),
    ];
    const results = await post([...nodes, ...calls, event(30, { metric: 'calls', kind: 'counter', value: '7' })]);
    expect(results.slice(0, -1).every((r) => r['outcome'] === 'accepted')).toBe(true);
    expect(results.at(-1)).toMatchObject({ outcome: 'rejected', code: 'usage.wrong_kind' });
    sequence += 1;
    const through = { through: new Date(hour + HOUR_MS).toISOString(), sequence: String(sequence) };
    await post([{ specversion: '1.0', id: `nodes.${sequence}`, source: '/imports/nodes', type: 'berth.watermark.v1', data: through }]);
    expect((await house.shop('POST', '/clock/advance', { seconds: 600, stepSeconds: 300 })).status).toBe(200);

    const mine = (items: Record<string, unknown>[]): Record<string, unknown>[] =>
      items.filter((b) => JSON.stringify(b).includes(externalId));
    const billed = await until(
      async () => mine((await house.shop('GET', '/billed')).json.items!),
      (all) => all.length >= 2,
    );
    expect(billed.map((b) => [b['dimension'], Number(b['quantity'])]).sort()).toEqual([
      ['gib_hours_stored', 8],
      ['mib_egress', 2],
    ]);
    const sub = await house.subscriptionOf(externalId);
    const records = (await house.api('GET', `/usage-records?subscriptionId=${String(sub['id'])}&limit=50`)).json.items!;
    const peak = records.find((r) => r['meter'] === 'peak_nodes')!;
    const page = await house.api('GET', `/usage-records/${String(peak['id'])}/explanation?format=html`);
    expect(page.text).toContain('the largest that all sources had together at one moment; exactly 8 nodes');
    expect(page.text).toContain('12 samples of 1 source count for peak_nodes');
    expect(page.text).toContain('calculated again: equal');
  }, 120_000);
});
