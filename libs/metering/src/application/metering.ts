import { realNow, type TaskRunner, type Tx } from '#platform';
import { insertPrice, type StoredPrice } from '../infra/prices.sql.js';
import { UsageDays } from '../infra/usage-days.js';
import {
  bindPlacement,
  holdClosing,
  holdForSuccessor,
  recordEngineSample,
  releaseFromHold,
  transferPlacement,
  unbindPlacement,
  type EngineSample,
  type NewBinding,
} from './bindings.js';
import { endCredit, openCredit, type CreditRow, type NewCredit } from './credits.js';
import { closeMonth } from './close-month.js';
import { CloseDueHours } from './close-due-hours.js';
import type { MeteringDeps } from './deps.js';
import { explainAny, type Explained, type ExplainQuery } from './explain-any.js';
import { explainRecord, type Explanation } from './explain.js';
import { releaseHeld } from './expire-items.js';
import { raiseFindings, settleFinding, type NewFinding, type SettlementWords } from './findings.js';
import { foldAdjustment, type FoldedAdjustment, type ToldAdjustment } from './fold-adjustment.js';
import { IngestUsage } from './ingest-usage.js';
import type { IngestResult, UsagePrincipal } from './intake-types.js';
import { readMarketplaceStatus, type MarketplaceStatus } from './marketplace-status.js';
import { settlePriced } from './price-findings.js';
import { PruneUsage } from './prune-usage.js';
import { compareUsageReports } from './compare-usage-reports.js';
import { importUsageReport, voidUsageReport } from './usage-reports.js';
import { RECONCILE_HANDLER, requestReconciliation, runReconciliation } from './reconcile.js';
import { allocateRemittance, importRemittances, voidRemittance, type ImportResult } from './remittances.js';
import { confirmWriteOff, settleByPerson, type SettlementWish } from './settle-by-person.js';
import { isSettled } from './settle.js';
import { SubmitDue } from './submit-due.js';
import { checkSumLaw, type SumLawFilter, type SumLawResult } from './sum-law.js';

/** The use cases of metering. Reads are free functions (`listUsageRecords` …) that obey the role of the transaction they get. */
export class Metering {
  private readonly days: UsageDays;
  private readonly intake: IngestUsage;
  private readonly closer: CloseDueHours;
  private readonly submitter: SubmitDue;
  private readonly pruner: PruneUsage;

  constructor(private readonly deps: MeteringDeps) {
    this.days = new UsageDays(deps.db);
    this.intake = new IngestUsage(deps, this.days);
    this.closer = new CloseDueHours(deps, this.days);
    this.submitter = new SubmitDue(deps);
    this.pruner = new PruneUsage(deps, this.days);
  }

  /** Answers after commit; one result per event, by index. */
  ingest(principal: UsagePrincipal, events: unknown[]): Promise<{ results: IngestResult[] }> {
    return this.intake.run(principal, events);
  }

  bindPlacement(tx: Tx, binding: NewBinding): Promise<void> {
    return bindPlacement(tx, binding);
  }

  unbindPlacement(tx: Tx, binding: { placementId: string; until: Date }): Promise<void> {
    return unbindPlacement(tx, binding);
  }

  holdClosing(tx: Tx, subscriptionIds: string[]): Promise<Map<string, Date>> {
    return holdClosing(tx, subscriptionIds);
  }

  transferPlacement(tx: Tx, transfer: { placementId: string; toSubscriptionId: string; at: Date }): Promise<void> {
    return transferPlacement(tx, transfer);
  }

  holdForSuccessor(tx: Tx, hold: { placementId: string; subscriptionId: string; from: Date }): Promise<void> {
    return holdForSuccessor(tx, hold);
  }

  releaseFromHold(tx: Tx, hold: { placementId: string; subscriptionId: string }): Promise<void> {
    return releaseFromHold(tx, hold);
  }

  recordEngineSample(tx: Tx, sample: EngineSample): Promise<void> {
    return recordEngineSample(tx, this.deps.clock, this.days, sample);
  }

  clocks(): { tick: () => Promise<number>; loop?: string }[] {
    return [
      { tick: () => this.closer.run() },
      { tick: () => this.submitter.sweep() },
      { tick: () => this.pruner.tick(), loop: 'usage:prune' },
      ...this.deps.marketplaces.all().map(({ marketplace }) => ({
        tick: () => this.submitter.pass(marketplace),
        loop: `submission:${marketplace}`,
      })),
    ];
  }

  /** Closes what is due and settles what has ended; answers how much it did. */
  closeDueHours(): Promise<number> {
    return this.closer.run();
  }

  /** Sends what is due at every marketplace, side by side; answers how much it did. */
  submitDue(): Promise<number> {
    return this.submitter.run();
  }

  /**
   * At the start of an installation's only worker: what a killed predecessor was sending is asked again at once instead of
   * after its lease. Its attempts stay without an outcome, so they are settled as unknown: the same bytes go out again.
   */
  async takeOver(): Promise<void> {
    const now = realNow();
    await this.deps.db.ops((tx) => tx.query('update submission_items set lease_until = $1 where lease_until > $1', [now]));
  }

  /** Forgets ids of events that are too old to come again, and days of samples past their retention in which all is settled. */
  pruneUsage(): Promise<{ ids: number; days: string[] }> {
    return this.pruner.run();
  }

  isSettled(tx: Tx, subscriptionId: string): Promise<boolean> {
    return isSettled(tx, subscriptionId, this.deps.clock.now());
  }

  /** Raises it once; true if it is new. */
  async raiseFinding(tx: Tx, finding: NewFinding): Promise<boolean> {
    return (await raiseFindings(tx, this.deps.clock, [finding])) > 0;
  }

  /** Answers how many of them are new. */
  raiseFindings(tx: Tx, findings: NewFinding[]): Promise<number> {
    return raiseFindings(tx, this.deps.clock, findings);
  }

  /** For flows that have done what they say; a person's wish is `settleByPerson`. */
  settleFinding(tx: Tx, input: { findingId: string; words: SettlementWords }): Promise<void> {
    return settleFinding(tx, this.deps.clock, input);
  }

  settleByPerson(tx: Tx, wish: SettlementWish): Promise<'settled' | 'proposed'> {
    return settleByPerson(tx, this.deps, wish);
  }

  confirmWriteOff(tx: Tx, input: Parameters<typeof confirmWriteOff>[2]): Promise<void> {
    return confirmWriteOff(tx, this.deps, input);
  }

  /** A price as somebody read it, from an instant on; amounts of findings and months follow, quantities never do. */
  async recordPrice(tx: Tx, price: Omit<StoredPrice, 'priceId' | 'recordedAt'>): Promise<StoredPrice> {
    const stored = await insertPrice(tx, { ...price, recordedAt: this.deps.clock.now() });
    await settlePriced(tx, this.deps.clock, stored);
    return stored;
  }

  explainRecord(tx: Tx, recordId: string): Promise<Explanation> {
    return explainRecord(tx, this.deps, recordId);
  }

  explainAny(tx: Tx, query: ExplainQuery): Promise<Explained> {
    return explainAny(tx, this.deps, query);
  }

  importRemittances(tx: Tx, input: Parameters<typeof importRemittances>[2]): Promise<ImportResult> {
    return importRemittances(tx, this.deps, input);
  }

  allocateRemittance(tx: Tx, input: Parameters<typeof allocateRemittance>[2]): Promise<void> {
    return allocateRemittance(tx, this.deps, input);
  }

  voidRemittance(tx: Tx, input: Parameters<typeof voidRemittance>[2]): Promise<void> {
    return voidRemittance(tx, this.deps, input);
  }

  importUsageReport(tx: Tx, input: Parameters<typeof importUsageReport>[2]): ReturnType<typeof importUsageReport> {
    return importUsageReport(tx, this.deps, input);
  }

  voidUsageReport(tx: Tx, input: Parameters<typeof voidUsageReport>[2]): Promise<void> {
    return voidUsageReport(tx, this.deps, input);
  }

  compareUsageReports(tx: Tx, reconciliationId: string): Promise<void> {
    return compareUsageReports(tx, this.deps, reconciliationId);
  }

  /** A month from sample to payout; reads only. Throws `month.open` where it must be final and is not. */
  closeMonth(query: Parameters<typeof closeMonth>[1]): ReturnType<typeof closeMonth> {
    return closeMonth(this.deps, query);
  }

  openCredit(tx: Tx, credit: NewCredit): ReturnType<typeof openCredit> {
    return openCredit(tx, this.deps, credit);
  }

  endCredit(tx: Tx, input: Parameters<typeof endCredit>[2]): Promise<CreditRow> {
    return endCredit(tx, this.deps, input);
  }

  /** The marketplace's word on a correction of a bill, into the credit that asked for it. */
  foldAdjustment(tx: Tx, told: ToldAdjustment): Promise<FoldedAdjustment> {
    return foldAdjustment(tx, this.deps, told);
  }

  releaseHeld(tx: Tx, itemId: string): Promise<void> {
    return releaseHeld(tx, this.deps, itemId);
  }

  marketplaceStatus(tx: Tx): Promise<MarketplaceStatus[]> {
    return readMarketplaceStatus(tx, this.deps);
  }

  checkSumLaw(tx: Tx, filter: SumLawFilter = {}): Promise<SumLawResult> {
    return checkSumLaw(tx, filter);
  }

  requestReconciliation(tx: Tx, input: { marketplace: string; from: Date; to: Date; requestedBy: string }): Promise<string> {
    return requestReconciliation(tx, this.deps, input);
  }

  runReconciliation(reconciliationId: string): Promise<void> {
    return runReconciliation(this.deps, reconciliationId);
  }
}

/**
 * The worker's part: clocks and one task handler. Closing, and what of submission is rows only, run in the runner's main loop;
 * each marketplace is sent to in a loop of its own.
 */
export function registerMeteringHandlers(runner: TaskRunner, metering: Metering): void {
  for (const clock of metering.clocks()) runner.addClock(clock.tick, clock.loop);
  runner.register(RECONCILE_HANDLER, (payload) => metering.runReconciliation(String(payload['reconciliationId'])));
}
