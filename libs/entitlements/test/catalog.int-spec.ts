import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { projectRoot } from '#platform';
import { readListingEmissions } from '../src/index.js';
import { Rig, TEST_CATALOG } from './rig.js';

/** In the place of a plan's meters: one that is called as another is and counts something else. */
const METERS_OTHERWISE = `meters:
      - meter: mib_egress
        metric: other_bytes
        kind: sum
        source: cell
        dimension: told
        listedUnit: MiB
        basePerUnit: '1048576'
        decimals: 0
        included: null
        includedBy: seller
        gap: carry
        billableWhileSuspended: false
        emission: live`;

describe('the catalog', () => {
  let rig: Rig;
  const folders: string[] = [];
  const text = readFileSync(join(TEST_CATALOG, 'tide.yaml'), 'utf8');
  beforeAll(async () => {
    rig = await Rig.open();
  });
  afterAll(() => rig?.close());
  afterEach(() => folders.splice(0).forEach((folder) => rmSync(folder, { recursive: true })));

  const folderOf = (files: Record<string, string>): string => {
    const folder = mkdtempSync(join(tmpdir(), 'berth-catalog-'));
    folders.push(folder);
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
    return folder;
  };
  const read = (files: Record<string, string>) => rig.catalog.readFolder(folderOf(files));
  const load = (content: string) => rig.db.ops((tx) => rig.catalog.load(tx, read({ 'tide.yaml': content })));
  const latest = (plan: string) => rig.db.ops((tx) => rig.catalog.latest(tx, 'azure', 'tide-cells', plan));

  it('that ships with the product is without faults', () => {
    expect(rig.catalog.readFolder(join(projectRoot(), 'catalog')).length).toBeGreaterThan(0);
  });

  it('names every fault of every file at once', () => {
    const wrong = {
      'a.yaml': text
        .replace("hardLimit: '1000'", "hardLimit: '0'")
        .replace('acknowledge: on_serving', 'acknowledge: sometimes')
        .replace('name: Tide Cells }', 'name: Tide Cells, nick: tide }'),
      'b.yaml': 'marketplace: [',
    };
    const message = (() => {
      try {
        read(wrong);
        return '';
      } catch (error) {
        return (error as Error).message;
      }
    })();
    expect(message).toContain('a.yaml: /plans/0/quotas/0/hardLimit');
    expect(message).toContain('a.yaml: /plans/0/acknowledge');
    expect(message).toContain('(nick)');
    expect(message).toContain('b.yaml: ');
  });

  it('says how much may be built for one purchase, in exact money', async () => {
    await load(text);
    expect((await latest('alone'))!.build).toEqual({ maxNodes: 3, maxCostPerHour: { amountPerHour: '12.50', currency: 'USD' } });
    expect(() => read({ 'tide.yaml': text.replace("'12.50'", "'12,50'") })).toThrow('/build/maxCostPerHour/amountPerHour');
  });

  it.each([
    [
      'a unit that does not divide into its decimals',
      text.replace("basePerUnit: '1048576'\n        decimals: 0", "basePerUnit: '1048576'\n        decimals: 2"),
      /plan standard, meter mib_egress: basePerUnit must be divisible by 10\^2/,
    ],
    [
      'a default region in which the plan is not sold',
      text.replace('defaultRegion: local-2', 'defaultRegion: local-1'),
      /plan island: defaultRegion local-1/,
    ],
    ['more units at least than at most', text.replace('min: 2, max: 10', 'min: 11, max: 10'), /plan crew: quantity.min is above/],
    [
      'a dimension fed by two meters',
      text.replace('dimension: mib_egress', 'dimension: gib_hours_stored'),
      /dimension gib_hours_stored is fed by two meters/,
    ],
    [
      'a dimension fed by two meters, one of which is not sent',
      text.replace('dimension: mib_egress', 'dimension: gib_hours_stored').replace(/(meter: mib_egress[^]*?emission: )live/, '$1none'),
      /dimension gib_hours_stored is fed by two meters/,
    ],
    ['a meter that is there twice', text.replace('meter: mib_egress', 'meter: gib_hours_stored'), /meter gib_hours_stored is there twice/],
    [
      'cost-split labels on Azure, which knows none',
      text.replace(
        'dimension: mib_egress',
        'dimension: mib_egress\n        costSplit: { labels: [{ name: team, as: Team }], rest: other }',
      ),
      /plan standard, meter mib_egress: catalog.cost_split_unknown: azure knows no labels of usage/,
    ],
    [
      'a meter that counts in two ways',
      text.replace('meters: *meters', METERS_OTHERWISE),
      /catalog.meter_differs: meter mib_egress is counter of egress_bytes \(cell\) in one place and sum of other_bytes \(cell\) in another/,
    ],
    [
      'a metric that is reported in two ways',
      text.replace(
        'meters: *meters',
        METERS_OTHERWISE.replace('meter: mib_egress', 'meter: mib_told').replace('other_bytes', 'egress_bytes'),
      ),
      /catalog.metric_differs: metric egress_bytes is reported as counter in one place and reported as delta in another/,
    ],
    [
      'the engine asked for what it does not tell',
      text.replace(
        'meters: *meters',
        METERS_OTHERWISE.replace('meter: mib_egress', 'meter: mib_told').replace('source: cell', 'source: engine'),
      ),
      /meter mib_told: the engine tells provisioned_bytes as a gauge, and no other_bytes for a sum/,
    ],
    ['a plan described twice', text.replace('externalId: premium', 'externalId: standard'), /plan standard is described twice/],
  ])('refuses %s', (_what, content, fault) => {
    expect(content).not.toBe(text);
    expect(() => read({ 'tide.yaml': content })).toThrow(fault);
  });

  it('takes cost-split labels that the marketplace takes, and names what it does not', () => {
    const on =
      (marketplace: string, labels: string, rest = 'other') =>
      () =>
        read({
          'tide.yaml': text
            .replace('marketplace: azure', `marketplace: ${marketplace}`)
            .replace('dimension: mib_egress', `dimension: mib_egress\n        costSplit: { labels: [${labels}], rest: ${rest} }`),
        });
    expect(on('aws', '{ name: team, as: Team }, { name: stage, as: Stage }')()[0]!.meters.find((m) => m.costSplit)!.costSplit).toEqual({
      labels: [
        { name: 'team', as: 'Team' },
        { name: 'stage', as: 'Stage' },
      ],
      rest: 'other',
    });
    on('gcp', '{ name: cell, as: cloudmarketplace.googleapis.com/resource_name }, { name: team, as: team }')();
    expect(on('gcp', '{ name: team, as: Team }')).toThrow(/gcp takes no label named "Team"/);
    expect(on('gcp', '{ name: team, as: team }', 'Other')).toThrow(/gcp takes no label value "Other"/);
    expect(on('aws', "{ name: team, as: 'Te$m' }")).toThrow(/aws takes no label named/);
    expect(on('aws', '{ name: team, as: T }, { name: stage, as: T }')).toThrow(/two labels are named "T"/);
    expect(on('aws', '{ name: team, as: T }, { name: team, as: U }')).toThrow(/label team is there twice/);
  });

  it('takes meters of a level and of amounts told once', () => {
    const kinds = (kind: string) => read({ 'tide.yaml': text.replaceAll('kind: gauge_integral', `kind: ${kind}`) })[0]!.meters[0]!.kind;
    expect(['max', 'latest'].map(kinds)).toEqual(['max', 'latest']);
    expect(() => kinds('average')).toThrow(/\/plans\/0\/meters\/0\/kind .*gauge_integral, max, latest, counter, sum/);
  });

  it('takes a meter that was wrong at first and that nobody has bought, and refuses one that counts otherwise than a purchase does', async () => {
    const wrongAtFirst = text.replace('meters: *meters', METERS_OTHERWISE.replace('meter: mib_egress', 'meter: mib_told'));
    await load(wrongAtFirst);
    await load(wrongAtFirst.replace('kind: sum', 'kind: counter'));
    await load(text);
    await rig.db.ops((tx) =>
      tx.query(
        `insert into subscriptions (subscription_id, marketplace, external_subscription_id, state, plan_version_id, external_offer_id, external_plan_id, truth, created_at, updated_at)
         select gen_random_uuid(), 'azure', 'one that counts', 'active', plan_version_id, 'tide-cells', 'standard', '{}', now(), now() from plan_versions where external_plan_id = 'standard' limit 1`,
      ),
    );
    await expect(load(text.replaceAll('kind: counter', 'kind: sum'))).rejects.toThrow(/catalog.meter_differs: meter mib_egress/);
    await expect(load(text.replaceAll('meter: mib_egress', 'meter: mib_told').replaceAll('kind: counter', 'kind: sum'))).rejects.toThrow(
      /catalog.metric_differs: metric egress_bytes/,
    );
  });

  it('refuses an empty folder with a remedy', () => {
    expect(() => read({})).toThrow(/BERTH_CATALOG/);
  });

  it('adds nothing when it is loaded again, nor by two starters at once', async () => {
    const plans = rig.catalog.readFolder(TEST_CATALOG);
    const again = await Promise.all([1, 2].map(() => rig.db.ops((tx) => rig.catalog.load(tx, plans))));
    expect(again).toEqual([0, 0]);
  });

  it('makes another content a new version and keeps the old one for those who bought it', async () => {
    const before = (await latest('standard'))!;
    expect(await load(text.replace("hardLimit: '1000'", "hardLimit: '1500'"))).toBe(1);
    const after = (await latest('standard'))!;
    expect(after).toMatchObject({ version: before.version + 1, quotas: [{ hardLimit: '1500' }] });
    expect(await rig.db.ops((tx) => rig.catalog.get(tx, before.planVersionId))).toEqual(before);
  });

  it('makes content that comes back after a withdrawal the newest again', async () => {
    const first = (await latest('premium'))!;
    await load(text.replace("hardLimit: '5000'", "hardLimit: '7000'"));
    await load(text);
    const back = (await latest('premium'))!;
    expect(back).toMatchObject({ version: first.version + 2, contentHash: first.contentHash, quotas: first.quotas });
    expect(back.planVersionId).not.toBe(first.planVersionId);
    expect(await rig.db.ops((tx) => rig.catalog.get(tx, back.planVersionId))).toEqual(back);
  });

  it('does not care for the order of keys or for comments', async () => {
    const reordered = text.replace(
      'offer: { externalId: tide-cells, name: Tide Cells }',
      '# a remark\noffer: { name: Tide Cells, externalId: tide-cells }',
    );
    await load(text);
    expect(await load(reordered)).toBe(0);
  });

  it('cannot be changed or deleted once loaded, by anyone', async () => {
    const plan = (await latest('seats'))!;
    for (const role of [undefined, 'owner', 'ops'] as const) {
      const { Client } = (await import('pg')).default;
      const client = new Client({ connectionString: rig.base.url(role) });
      await client.connect();
      try {
        await expect(client.query('update plan_versions set version = 9 where plan_version_id = $1', [plan.planVersionId])).rejects.toThrow(
          /immutable|permission denied/,
        );
        await expect(client.query('delete from plan_versions where plan_version_id = $1', [plan.planVersionId])).rejects.toThrow(
          /immutable|permission denied/,
        );
      } finally {
        await client.end();
      }
    }
  });

  it('tells an unknown plan from an unknown offer', async () => {
    await rig.db.ops(async (tx) => {
      expect(await rig.catalog.latest(tx, 'azure', 'tide-cells', 'mystery')).toBeNull();
      expect(await rig.catalog.knowsOffer(tx, 'azure', 'tide-cells')).toBe(true);
      expect(await rig.catalog.knowsOffer(tx, 'gcp', 'tide-cells')).toBe(false);
    });
  });

  describe('the emission of a listing', () => {
    const inShadow = (mode: string): string => text.replace('name: Tide Cells }', `name: Tide Cells, emission: ${mode} }`);
    const emissions = async () =>
      (await rig.db.ops((tx) => readListingEmissions(tx)))
        .filter((e) => e.externalOfferId === 'tide-cells')
        .map((e) => [e.from.toISOString().slice(0, 16), e.emission]);

    it('changes at the next hour for every version, and is no new version; what has begun never changes', async () => {
      await load(text);
      const before = (await latest('standard'))!;
      rig.at('10:20');
      expect(await load(inShadow('shadow'))).toBe(0);
      expect(await load(inShadow('invoice'))).toBe(0);
      expect(await latest('standard')).toEqual(before);
      expect(await emissions()).toEqual([['2030-05-01T11:00', 'invoice']]);
      rig.at('11:00');
      await load(text);
      expect(await emissions()).toEqual([
        ['2030-05-01T11:00', 'invoice'],
        ['2030-05-01T12:00', 'live'],
      ]);
      await expect(
        rig.db.ops((tx) =>
          tx.query(`update listing_emissions set emission = 'none', recorded_at = $1`, [new Date('2030-05-01T11:30:00Z')]),
        ),
      ).rejects.toThrow(/in force/);
    });

    it('of a listing that was never sold here holds from the beginning', async () => {
      const other = inShadow('shadow').replace('externalId: tide-cells', 'externalId: ebb-cells');
      await load(other);
      const [first] = (await rig.db.ops((tx) => readListingEmissions(tx))).filter((e) => e.externalOfferId === 'ebb-cells');
      expect(first).toMatchObject({ from: new Date(0), emission: 'shadow' });
    });

    it('is refused with a code where it is no emission, or said in two ways', () => {
      expect(() => read({ 'tide.yaml': inShadow('dark') })).toThrow(
        /catalog\.emission_invalid: \/offer\/emission must be .*: live, shadow, invoice, none/,
      );
      const one = text.replace('externalId: standard', 'externalId: another');
      expect(() => read({ 'a.yaml': text, 'b.yaml': one.replace('name: Tide Cells }', 'name: Tide Cells, emission: shadow }') })).toThrow(
        /catalog\.emission_conflict: azure offer tide-cells is live in one file and shadow in another/,
      );
    });
  });
});
