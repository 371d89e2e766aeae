import { createHash, type Hash } from 'node:crypto';
import { ProblemError, canonicalJson } from '#platform';
import type { Emission, PlanVersion, SampleKind } from '#entitlements';

/**
 * A journal: what came into an installation's metering from outside, in the order in which closing met it (ADR 0020). One line of
 * JSON each; instants are UTC microseconds and amounts base units, both as decimal text. No name, address, key or foreign id of a
 * buyer is in it; what posters may choose freely (sources, ids of events, epochs) is a hash.
 */
export const JOURNAL_FORMAT = 2;
/** What older builds wrote, in which closings name no rules: all were closed by the first ones. */
const READABLE: readonly unknown[] = [1, JOURNAL_FORMAT];

/** What a closing read of a purchase at its place in the order. */
export interface PurchaseFacts {
  marketplace: string;
  endedAt: string | null;
  segments: {
    segmentId: string;
    sequence: number;
    startsAt: string;
    endsAt: string | null;
    planVersionId: string;
    externalPlanId: string;
    quantity: number | null;
    billable: boolean;
    reason: string;
    termStartsAt: string | null;
    termEndsAt: string | null;
  }[];
  bindings: { placementId: string; source: string; from: string; until: string | null; held: string | null }[];
}

export interface JournalHeader {
  line: 'header';
  format: number;
  /** The build that wrote it. */
  build: string;
  /** First hour and end of the last closed hour; null where nothing was closed. */
  from: string | null;
  to: string | null;
  /** Over the plan versions in it. */
  catalogHash: string;
  /** Purchases that cannot be replayed: hours closed before the order was noted, or samples that are forgotten. */
  leftOut: number;
}
/** What billing reads of a plan version. Names may be a buyer's (a private plan), and nothing hangs on them. */
export type JournalPlan = Pick<
  PlanVersion,
  'planVersionId' | 'marketplace' | 'externalOfferId' | 'externalPlanId' | 'version' | 'contentHash' | 'quotas' | 'meters'
>;
export const journalPlan = (p: JournalPlan): JournalPlan => ({
  planVersionId: p.planVersionId,
  marketplace: p.marketplace,
  externalOfferId: p.externalOfferId,
  externalPlanId: p.externalPlanId,
  version: p.version,
  contentHash: p.contentHash,
  quotas: p.quotas,
  meters: p.meters,
});

export interface SampleLine {
  line: 'sample';
  id: string;
  poster: string;
  source: string;
  at: string;
  tenantId: string;
  subscriptionId: string;
  placementId: string;
  metric: string;
  kind: SampleKind;
  value: string;
  epoch: string;
  sequence: string;
  receivedAt: string;
}
export interface FactsLine extends PurchaseFacts {
  line: 'facts';
  subscriptionId: string;
  tenantId: string;
}
export interface AbsorbLine {
  line: 'absorb';
  shard: number;
  at: string;
  absorbed: { subscriptionId: string; meter: string; metric: string; from: string }[];
}
export interface CloseLine {
  line: 'close';
  shard: number;
  hour: string;
  at: string;
  /** By which the hour was closed; 1 where it is not told. */
  rules?: number;
  /** `watermark`: where the slowest source stood, if it was behind. */
  closed: { subscriptionId: string; meter: string; watermark: string | null }[];
}
/** A move of the ledger that no closing makes. */
export interface EntryLine {
  line: 'entry';
  subscriptionId: string;
  meter: string;
  tenantId: string;
  hour: string;
  segmentId: string | null;
  term: string;
  cause: string;
  ref: string;
  quantity: string;
  at: string;
}
export interface CarryLine {
  line: 'carry';
  subscriptionId: string;
  meter: string;
  tenantId: string;
  segmentId: string;
  kind: 'deferred' | 'late' | 'credit';
  stage: 'usage' | 'billable';
  cause: string;
  origin: string;
  fromHour: string;
  amount: string;
  at: string;
}
export interface PriceLine {
  line: 'price';
  marketplace: string;
  externalOfferId: string;
  externalPlanId: string;
  dimension: string;
  subscriptionId: string | null;
  currency: string;
  unitPrice: string;
  effectiveFrom: string;
  recordedAt: string;
}
/** What became of a submission in the end: with it the sum law is checked after a replay. */
export interface OutcomeLine {
  line: 'outcome';
  itemId: string;
  state: string;
  accepted: string | null;
  at: string;
}
export interface RecordFacts {
  subscriptionId: string;
  marketplace: string;
  meter: string;
  segmentId: string;
  dimension: string;
  hour: string;
  baseQuantity: string;
  quantity: string;
  decimals: number;
  listedUnit: string;
  basePerUnit: string;
  planVersionId: string;
  externalPlanId: string;
  startsAt: string;
  endsAt: string;
  quality: string;
}
export interface JournalFooter {
  line: 'footer';
  /** Lines before this one. */
  lines: number;
  /** Of those lines, each with its line feed. */
  sha256: string;
  /** Of the installation's records and ledger entries, as far as they are in the journal. */
  ledgerHash: string;
}
export type JournalLine =
  | JournalHeader
  | { line: 'plan'; plan: JournalPlan }
  | { line: 'emission'; marketplace: string; externalOfferId: string; from: string; emission: Emission }
  | PriceLine
  | SampleLine
  | FactsLine
  | AbsorbLine
  | CloseLine
  | EntryLine
  | CarryLine
  | OutcomeLine
  | ({ line: 'record' } & RecordFacts)
  /** The hash of one purchase's records and entries. */
  | { line: 'purchase'; subscriptionId: string; hash: string }
  | JournalFooter;

/** Counts and hashes the lines that go by, written or read. */
export class JournalSeal {
  private readonly hash: Hash = createHash('sha256');
  lines = 0;

  add(line: string): void {
    this.hash.update(line).update('\n');
    this.lines += 1;
  }

  footer(ledgerHash: string): JournalFooter {
    return { line: 'footer', lines: this.lines, sha256: this.hash.digest('hex'), ledgerHash };
  }
}

export const catalogHashOf = (plans: readonly JournalPlan[]): string =>
  createHash('sha256')
    .update(canonicalJson(plans.map((p) => [p.planVersionId, p.contentHash])))
    .digest('hex');

const refuse = (code: string, detail: string): ProblemError => new ProblemError('validation', `journal.${code}`, detail);

/**
 * Reads a journal to its end and answers its first and last line. Refuses what is no journal (`journal.not_a_journal`), one of
 * another format (`journal.other_version`), one that ends too early (`journal.cut`) and one of which a line is not as it was
 * written (`journal.changed`). Nothing of it may be believed before.
 */
export async function checkJournal(lines: AsyncIterable<string>): Promise<{ header: JournalHeader; footer: JournalFooter }> {
  const seal = new JournalSeal();
  let header: JournalHeader | null = null;
  let footer: JournalFooter | null = null;
  for await (const text of lines) {
    if (footer) throw refuse('changed', 'There are lines after the last one of the journal. Write it again.');
    if (!header) header = headerOf(text);
    if (text.startsWith('{"line":"footer"')) footer = footerOf(text);
    else seal.add(text);
  }
  if (!header) throw refuse('not_a_journal', 'The file is empty. Name one that `berth journal` wrote.');
  if (!footer) throw refuse('cut', `The journal ends after ${seal.lines} lines without its last one: it was cut. Write it again.`);
  if (footer.lines !== seal.lines)
    throw refuse('cut', `The journal had ${footer.lines} lines and has ${seal.lines}: it was cut. Write it again.`);
  if (seal.footer('').sha256 !== footer.sha256) throw refuse('changed', 'A line of the journal is not as it was written. Write it again.');
  return { header, footer };
}

function headerOf(text: string): JournalHeader {
  let header: Partial<JournalHeader> = {};
  try {
    header = JSON.parse(text) as Partial<JournalHeader>;
  } catch {
    // Said below.
  }
  if (header?.line !== 'header') throw refuse('not_a_journal', 'This is no journal of metering. Name a file that `berth journal` wrote.');
  if (!READABLE.includes(header.format))
    throw refuse(
      'other_version',
      `The journal has format ${String(header.format).slice(0, 20)}; this build reads format ${READABLE.join(' and ')}. Replay it with a build of its format.`,
    );
  return header as JournalHeader;
}

function footerOf(text: string): JournalFooter {
  try {
    return JSON.parse(text) as JournalFooter;
  } catch {
    throw refuse('cut', 'The last line of the journal is not whole: it was cut. Write it again.');
  }
}

export function parseLine(text: string, number: number): JournalLine {
  try {
    return JSON.parse(text) as JournalLine;
  } catch {
    throw refuse('changed', `Line ${number} of the journal is not as it was written. Write it again.`);
  }
}
