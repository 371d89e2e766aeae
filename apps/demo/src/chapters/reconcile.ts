import type { Purchase } from '../buyers/buyer.js';
import { TERMS, type Finding, type Reconciliation, type SumLawRow, type Term } from '../control-plane.js';
import { decimal, inUnits, isExactly, minus, show, sum, type Decimal } from '../support/decimal.js';
import { HttpError } from '../support/http.js';
import { table } from '../support/table.js';
import { until } from '../support/wait.js';
import type { World } from '../world.js';
import { ORDERS } from './buy.js';
import { allAccepted, moveTo } from './hours.js';

const DAY_MS = 86_400_000;
/** The named loss of a plan's or a purchase's end: less than one unit, by the rules of an hour. */
/** The demo sells at no price: units are told, and that their price is not known. */
const EXPECTED = new Set(['loss.residue', 'price_unknown']);

export async function reconcile(w: World): Promise<void> {
  const { report } = w;
  report.chapter('Reconciliation: our ledger against what will be billed');
  // A difference counts once it is older than the marketplace's own lag; the ended purchase's last hour must be.
  await moveTo(w, '16:15');
  await allAccepted(
    w,
    w.purchases.filter(
      (p) => p.label !== ORDERS.tidewater.label && ![ORDERS.northfjord.label, ORDERS.breakwater.label].some((label) => label === p.label),
    ),
    [w.at('14:00'), w.at('15:00')],
  );
  if (w.config.plantDifference) await plant(w);
  const rows = new Map<string, SumLawRow[]>();
  for (const purchase of w.purchases) rows.set(purchase.label, await w.controlPlane.sumLaw(purchase.subscriptionId));
  nameUnits(rows);
  const differences = await ownCheck(w, rows);
  closingTable(w, rows);

  const found: string[] = [];
  for (const { marketplace, readsBack } of w.buyers) {
    const done = await run(w, ['read_back'], marketplace);
    const [readBack] = done.comparisons;
    report.fact(
      `reconciliation of ${marketplace}: ${readBack!.state}, ${readBack!.compared} lines compared, ${readBack!.agreed} agreed${readBack!.reason ? ` (${readBack!.reason})` : ''}`,
    );
    report.equal(`the reconciliation of ${marketplace} ran to its end`, done.state, 'done');
    const { items: lines } = await w.controlPlane.http.get<{ items: { verdict: string }[] }>(
      `/api/v1/reconciliations/${done.id}/lines?limit=200`,
    );
    const verdicts = lines.map((line) => line.verdict);
    if (!w.config.plantDifference)
      report.expect(
        readsBack
          ? 'each of its lines (day, subscription, plan, dimension) is equal'
          : `${marketplace} tells nothing to compare with, and that is said`,
        readsBack ? verdicts.length > 0 && verdicts.every((v) => v === 'equal') : readBack!.state === 'not_comparable',
        `${verdicts.length} lines: ${[...new Set(verdicts)].join(', ')}`,
      );
    const findings = await w.controlPlane.findings();
    for (const kind of new Set(findings.map((f) => f.kind))) {
      const these = findings.filter((f) => f.kind === kind);
      report.fact(`${these.length} finding${these.length === 1 ? '' : 's'} ${kind}${EXPECTED.has(kind) ? ' (expected: named)' : ''}`);
    }
    found.push(...findings.filter((f) => !EXPECTED.has(f.kind)).map((f) => findingText(w, f)));
  }
  const own = await run(w, ['sum_law', 'placements', 'subscriptions']);
  report.expect(
    'the sum law, the placements that really run, and the purchases there agree',
    own.state === 'done' && own.agreed === true && own.comparisons.some((c) => c.kind === 'placements' && c.agreed > 0),
    own.comparisons.map((c) => `${c.kind} ${c.agreed} of ${c.compared}${c.reason ? ` (${c.reason})` : ''}`).join(', '),
  );
  if (w.config.plantDifference)
    report.expect(
      'the product sees the planted difference too',
      found.some((text) => text.startsWith('drift.quantity')),
      found.join('; ') || 'it raised no finding',
    );
  report.expect('ledger = billed for every subscription and dimension, to the last unit', differences.length === 0, differences.join('; '));
  report.expect('the product finds nothing that does not belong', found.length === 0, found.slice(0, 5).join('; '));
  await ownMeasure(w, rows);
}

async function run(w: World, kinds: string[], marketplace?: string): Promise<Reconciliation> {
  const from = w.at('00:00');
  const wish = { kinds, marketplace, from: from.toISOString(), to: new Date(from.getTime() + DAY_MS).toISOString() };
  // The clock's own run of the same may go on just now.
  const started = await until(`a turn to compare ${kinds.join(', ')}`, () =>
    w.controlPlane.http.post<Reconciliation>('/api/v1/reconciliations', wish).catch((error: unknown) => {
      if (error instanceof HttpError && error.code === 'reconciliation.under_way') return null;
      throw error;
    }),
  );
  return until(`the reconciliation of ${marketplace ?? kinds.join(', ')}`, async () => {
    const one = await w.controlPlane.http.get<Reconciliation>(`/api/v1/reconciliations/${started.id}`);
    return ['done', 'failed'].includes(one.state) ? one : undefined;
  });
}

/** Without the product's judgement: each row obeys the sum law, nothing waits, and accepted is billed. Decimals, never floats. */
async function ownCheck(w: World, rows: Map<string, SumLawRow[]>): Promise<string[]> {
  const { report } = w;
  const unlawful: string[] = [];
  const differences: string[] = [];
  let compared = 0;
  for (const purchase of w.purchases) {
    const billed = await w.sandbox.billed(purchase.marketplace, purchase.externalId);
    for (const row of rows.get(purchase.label)!) {
      const t = (term: Term): bigint => BigInt(row.terms[term]);
      const left = t('measured') + t('estimated') + t('adjustments');
      const right =
        t('nonBillable') + t('included') + (t('accepted') - t('overReported')) + t('pending') + t('deferred') + t('remainder') + t('loss');
      const name = `${purchase.label} ${row.dimension}`;
      if (left !== right || BigInt(row.difference) !== 0n)
        unlawful.push(`${name}: ${left} on one side, ${right} on the other, told difference ${row.difference}`);
      if (t('pending') !== 0n || t('deferred') !== 0n)
        unlawful.push(`${name}: ${row.terms.pending} pending, ${row.terms.deferred} deferred`);
      const theirs = billedOf(billed, row.dimension);
      compared += 1;
      if (!isExactly(theirs, BigInt(row.basePerUnit), t('accepted'))) {
        const ours = inUnits(t('accepted'), BigInt(row.basePerUnit));
        const by = ours.endsWith('…') ? '' : `, ${show(minus(theirs, decimal(ours)))} apart`;
        differences.push(
          `${name}: our ledger holds ${ours} ${row.listedUnit} as accepted, ${purchase.marketplace} bills ${show(theirs)}${by}`,
        );
      }
    }
  }
  report.expect(
    'the sum law holds in every row, and nothing waits',
    unlawful.length === 0,
    unlawful.length ? unlawful.join('; ') : `${compared} rows`,
  );
  return differences;
}

/** A meter that never left the included quantity has no record that names its unit: another purchase's has. */
function nameUnits(rows: Map<string, SumLawRow[]>): void {
  const all = [...rows.values()].flat();
  for (const row of all) {
    const named = all.find((one) => one.meter === row.meter && one.basePerUnit);
    row.dimension ??= named?.dimension ?? row.meter;
    row.listedUnit ??= named?.listedUnit ?? 'base unit';
    row.basePerUnit ??= named?.basePerUnit ?? '1';
  }
}

const billedOf = (billed: { dimension: string; quantity: string }[], dimension: string): Decimal =>
  sum(billed.filter((b) => b.dimension === dimension).map((b) => decimal(b.quantity)));

/** What the demo itself received against what the gateways counted. */
async function ownMeasure(w: World, rows: Map<string, SumLawRow[]>): Promise<void> {
  for (const purchase of w.purchases) {
    const row = rows.get(purchase.label)!.find((one) => one.meter === 'mib_egress');
    w.report.equal(
      `${purchase.label}: bytes measured on the way out are the bytes that the SDK received`,
      BigInt(row?.terms.measured ?? '0'),
      purchase.storage.egressBytes,
    );
    const included = BigInt(row?.terms.included ?? '0');
    const free = w.buyerOf(purchase).freeEgressMiB * 1024n * 1024n;
    const wanted = purchase.storage.egressBytes < free ? purchase.storage.egressBytes : free;
    w.report.equal(`${purchase.label}: of them included in the plan`, included, wanted);
  }
}

function closingTable(w: World, rows: Map<string, SumLawRow[]>): void {
  const { report } = w;
  report.line();
  report.line(
    '   The sum law: measured + estimated + adjustments = non-billable + included + (accepted − over-reported) + pending + deferred + remainder + loss',
  );
  const head = [
    'subscription',
    'dimension',
    'unit',
    'measured',
    'estimated',
    'adjust.',
    'non-bill.',
    'included',
    'accepted',
    'over-rep.',
    'pending',
    'deferred',
    'remainder',
    'loss',
  ];
  const lines = w.purchases.flatMap((purchase) =>
    rows
      .get(purchase.label)!
      .map((row) => [
        purchase.label,
        row.dimension,
        row.listedUnit,
        ...TERMS.map((term) => inUnits(BigInt(row.terms[term]), BigInt(row.basePerUnit))),
      ]),
  );
  report.block(table(head, lines, 3));
  report.line();
  report.fact('each term is shown to six decimals; … behind a number says that more follow (a remainder is less than one billed unit)');
}

/** Billed by marketplace, in listed units. */
export async function billedByMarketplace(w: World): Promise<void> {
  for (const { marketplace } of w.buyers) {
    const billed = await w.sandbox.billed(marketplace);
    const dimensions = [...new Set(billed.map((b) => b.dimension))].sort();
    w.report.fact(
      `billed by ${marketplace}: ${dimensions.map((d) => `${show(billedOf(billed, d))} ${d}`).join(', ')} (${billed.length} records)`,
    );
  }
}

/** One unit of the last place on one accepted quantity, on the marketplace's side. */
async function plant(w: World): Promise<void> {
  const purchase: Purchase = w.purchases[0]!;
  const billed = (await w.sandbox.billed(purchase.marketplace, purchase.externalId)).filter((b) => b.dimension === 'gib_hours_provisioned');
  const item = w.random.pick(billed);
  const by = '0.000001';
  await w.buyerOf(purchase).adjustBilled({ externalId: item.externalId, dimension: item.dimension, hour: item.hour, by });
  w.report.fact(
    `planted: ${item.dimension} of ${item.hour} of ${purchase.label} was ${item.quantity}, ${purchase.marketplace} now bills ${by} more`,
  );
}

function findingText(w: World, f: Finding): string {
  const purchase = w.purchases.find((p) => p.subscriptionId === f.subscriptionId);
  return [
    f.kind,
    purchase?.label,
    f.dimension,
    f.hour,
    f.units === null ? null : `${f.units} units`,
    JSON.stringify(f.evidence).slice(0, 300),
  ]
    .filter(Boolean)
    .join(' ');
}
