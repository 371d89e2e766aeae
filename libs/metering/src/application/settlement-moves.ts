import { isUuid, ProblemError, type Tx } from '#platform';
import { readSegments } from '#entitlements';
import { fromUs, hourOf, instantText, monthOf, toUs } from '../domain/units.js';
import { writeCarryIns, writeEntries } from '../infra/write-ledger.js';
import { OPEN_ITEM, type OpenItem } from '../infra/items.sql.js';
import type { MeteringDeps } from './deps.js';
import { releaseHeld } from './expire-items.js';
import { raiseFindings, settleFinding } from './findings.js';
import { lossFindingOf } from './item-findings.js';
import type { OpenFinding } from './open-finding.js';

const refuse = (code: string, detail: string): ProblemError => new ProblemError('conflict', `finding.${code}`, detail);
const said = (f: OpenFinding, name: string): string | null => (typeof f.evidence[name] === 'string' ? f.evidence[name] : null);

/** Asks the marketplace again with the same bytes, because a person has decided that this is safe (money.md "Outcomes"). */
export async function resubmitItem(tx: Tx, deps: MeteringDeps, finding: OpenFinding): Promise<string> {
  const item = await lockItem(tx, said(finding, 'itemId') ?? '');
  if (!item || item.settled)
    throw refuse('nothing_to_resubmit', 'Its submission has its outcome by now, so there is nothing to send again. Look at the record.');
  const now = deps.clock.now();
  if (item.hard_at <= now)
    throw refuse(
      'window_closed',
      `The marketplace took this hour until ${item.hard_at.toISOString()}. Ask it what it holds; then write the amount off, or leave the finding open until the read-back shows it.`,
    );
  const sent = await tx.query(
    `update submission_items set state = 'pending', hold_reason = null, next_attempt_at = $2
      where item_id = $1 and (state = 'unknown' or (state = 'held' and hold_reason = 'quarantined')) returning 1`,
    [item.item_id, now],
  );
  if (sent.length === 0) throw refuse('not_waiting', `Its submission is ${item.state}: it goes on by itself.`);
  return `the same bytes go out again before ${item.hard_at.toISOString()}`;
}

/**
 * Moves a lost amount into a later hour of its own segment and calendar month (money.md "Late usage"); elsewhere usage is never
 * re-dated. The loss is taken back and becomes a carry-in, both under the finding's name.
 */
export async function carryOn(tx: Tx, deps: MeteringDeps, finding: OpenFinding): Promise<string> {
  await loseQuarantined(tx, deps, finding);
  const at = await placeOf(tx, finding);
  const amount = BigInt(said(finding, 'baseQuantity') ?? '0');
  if (!at || amount <= 0n)
    throw refuse('nothing_to_carry', 'This finding names no amount of one segment. Write it off or invoice it outside.');
  const [series] = await tx.query<{ next_us: string; over: boolean; tenant_id: string }>(
    `select (extract(epoch from next_hour) * 1000000)::bigint::text as next_us, completed_at is not null as over, tenant_id
       from series where subscription_id = $1 and meter = $2 for update`,
    [at.subscriptionId, at.meter],
  );
  const next = BigInt(series?.next_us ?? '0');
  const open = await segmentGoesOn(tx, at.subscriptionId, at.segmentId, fromUs(next));
  if (!series || series.over || !open || monthOf(next) !== monthOf(at.hour))
    throw refuse(
      'no_later_hour',
      'No hour of the same segment and calendar month is still to be closed, and usage is never re-dated beyond them. Write it off or invoice it outside.',
    );
  const cause = finding.kind.slice('loss.'.length);
  const ref = `late-settled:${finding.finding_id}`;
  const row = {
    series: { subscriptionId: at.subscriptionId, meter: at.meter, tenantId: series.tenant_id },
    hour: at.hour,
    segmentId: at.segmentId,
    ref,
  };
  await writeEntries(
    tx,
    [
      { ...row, term: 'loss', cause, quantity: -amount },
      { ...row, term: 'deferred', cause: 'settled', quantity: amount },
    ],
    deps.clock.now(),
    'outside',
  );
  await writeCarryIns(
    tx,
    [
      {
        series: row.series,
        segmentId: at.segmentId,
        kind: 'deferred',
        // It was billable when it was lost: it has drawn on the included quantity already.
        stage: 'billable',
        cause: 'settled',
        origin: `finding:${finding.finding_id}`,
        fromHour: at.hour,
        amount,
      },
    ],
    deps.clock.now(),
    'outside',
  );
  return `${finding.units ?? '?'} units go into the hour of ${instantText(next)} or a later one of the month`;
}

/**
 * A quarantined item that still waits for its deadline is lost now, because a person settles it otherwise than by sending it again.
 * Its finding is the loss's.
 */
export async function loseQuarantined(tx: Tx, deps: MeteringDeps, finding: OpenFinding): Promise<boolean> {
  if (finding.kind !== 'loss.quarantined') return false;
  const item = await lockItem(tx, said(finding, 'itemId') ?? '');
  if (!item || item.settled || item.hold_reason !== 'quarantined') return false;
  await bookLoss(tx, deps, item, 'quarantined', 'quarantined');
  return true;
}

/** Lets go what stands still: a held item, a series that could not close. Where nothing does, its cause is said to be mended. */
export async function releaseStanding(tx: Tx, deps: MeteringDeps, finding: OpenFinding): Promise<string> {
  if (said(finding, 'taskId'))
    throw refuse(
      'release_the_task',
      `Release the task ${said(finding, 'taskId')} (POST /api/v1/tasks/{id}/release): it settles this finding.`,
    );
  const held = await heldItems(tx, finding);
  for (const item of held) await releaseHeld(tx, deps, item.item_id);
  if (held.length > 0) return `${held.length} held submission(s) go out with their own hour if the window is still open`;
  if (finding.kind === 'held_implausible')
    throw refuse('nothing_held', 'Its submission is not held any more. Look at the record; if the amount was lost, settle that finding.');
  if (finding.kind === 'lane_parked') {
    if (said(finding, 'itemId'))
      return 'its submission gets its outcome at the next sweep; if that still cannot be written, there is another finding';
    const meter = said(finding, 'meter');
    await tx.query(
      `update series set blocked_until = null, blocked_reason = null where subscription_id = $1 and ($2::text is null or meter = $2)`,
      [finding.subscription_id, meter],
    );
    return 'the series is tried again at once; if it still cannot close, it stands still again, with another finding';
  }
  return 'nothing stands still: its cause is mended';
}

/** The rows of a write-off: what still waits becomes a named loss, what is lost already stays so. */
export async function writeOffRows(tx: Tx, deps: MeteringDeps, finding: OpenFinding): Promise<string> {
  if (await loseQuarantined(tx, deps, finding)) return '1 submission(s) will not be sent; the amount is a named loss';
  const itemId = finding.kind === 'unknown_outcome' ? said(finding, 'itemId') : null;
  const items = itemId ? [await lockItem(tx, itemId)] : await heldItems(tx, finding);
  let given = 0;
  for (const item of items) {
    if (!item || item.settled) continue;
    if (finding.kind === 'unknown_outcome' && item.hard_at > deps.clock.now())
      throw refuse(
        'window_open',
        `The marketplace may still tell until ${item.hard_at.toISOString()}: send it again (resubmit), or write it off after that.`,
      );
    await giveUp(tx, deps, item, finding);
    given += 1;
  }
  return given > 0 ? `${given} submission(s) will not be sent; the amount is a named loss` : 'nothing waits: the difference is borne';
}

async function giveUp(tx: Tx, deps: MeteringDeps, item: OpenItem, finding: OpenFinding): Promise<void> {
  const base = BigInt(item.base_quantity);
  const cause = item.state === 'held' ? 'quarantined' : 'expired';
  await bookLoss(tx, deps, item, cause, 'written_off');
  if (base === 0n) return;
  // Every loss has its finding; this one is settled by the same two persons.
  const loss = lossFindingOf(item, cause, base, { writtenOffWith: finding.finding_id });
  await raiseFindings(tx, deps.clock, [loss]);
  const [raised] = await tx.query<{ finding_id: string }>('select finding_id from findings where dedupe_key = $1 and settlement is null', [
    loss.dedupeKey,
  ]);
  if (raised)
    await settleFinding(tx, deps.clock, {
      findingId: raised.finding_id,
      words: { kind: 'write_off', actor: 'finding', reason: `with finding ${finding.finding_id}`, reference: finding.finding_id },
    });
}

/** The item's end, and its amount from pending to loss. `code` says who told so. */
export async function bookLoss(tx: Tx, deps: MeteringDeps, item: OpenItem, cause: 'quarantined' | 'expired', code: string): Promise<void> {
  const now = deps.clock.now();
  const base = BigInt(item.base_quantity);
  await tx.query(`update submission_items set state = 'expired', last_code = $3, settled_at = $2, lease_until = null where item_id = $1`, [
    item.item_id,
    now,
    code,
  ]);
  if (base === 0n) return;
  const row = {
    series: { subscriptionId: item.subscription_id, meter: item.meter, tenantId: item.tenant_id },
    hour: BigInt(item.hour_us),
    segmentId: item.segment_id,
    cause,
    ref: item.item_id,
  };
  await writeEntries(
    tx,
    [
      { ...row, term: 'pending', quantity: -base },
      { ...row, term: 'loss', quantity: base },
    ],
    now,
    'outside',
  );
}

async function lockItem(tx: Tx, itemId: string): Promise<OpenItem | null> {
  if (!isUuid(itemId)) return null;
  const [item] = await tx.query<OpenItem>(`${OPEN_ITEM} where i.item_id = $1 for update of i`, [itemId]);
  return item ?? null;
}

/** The items that this finding is why they wait. */
async function heldItems(tx: Tx, finding: OpenFinding): Promise<OpenItem[]> {
  if (!finding.subscription_id || !finding.hour) return [];
  const reason = finding.kind === 'held_implausible' ? 'implausible' : finding.kind === 'gap_estimated' ? 'gap' : null;
  if (!reason) return [];
  const segmentId = said(finding, 'segmentId');
  return tx.query<OpenItem>(
    `${OPEN_ITEM} where i.subscription_id = $1 and i.hour = $2 and i.state = 'held' and i.hold_reason = $3 and r.meter = $4 and ($5::uuid is null or r.segment_id = $5) for update of i`,
    [finding.subscription_id, finding.hour, reason, said(finding, 'meter') ?? '', segmentId],
  );
}

async function segmentGoesOn(tx: Tx, subscriptionId: string, segmentId: string, at: Date): Promise<boolean> {
  const segments = await readSegments(tx, { subscriptionIds: [subscriptionId], from: at, to: new Date(at.getTime() + 3_600_000) });
  return segments.some((s) => s.segmentId === segmentId && (s.endsAt === null || s.endsAt > at));
}

interface Place {
  subscriptionId: string;
  meter: string;
  segmentId: string;
  hour: bigint;
}
async function placeOf(tx: Tx, finding: OpenFinding): Promise<Place | null> {
  if (!finding.subscription_id || !finding.hour) return null;
  const itemId = said(finding, 'itemId');
  if (itemId) {
    const item = await lockItem(tx, itemId);
    return item
      ? { subscriptionId: item.subscription_id, meter: item.meter, segmentId: item.segment_id, hour: BigInt(item.hour_us) }
      : null;
  }
  const [meter, segmentId] = [said(finding, 'meter'), said(finding, 'segmentId')];
  return meter && segmentId ? { subscriptionId: finding.subscription_id, meter, segmentId, hour: hourOf(toUs(finding.hour)) } : null;
}
