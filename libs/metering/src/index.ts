export * from './domain/types.js';
export { closeHour } from './domain/close-hour.js';
export { ENGINE_SOURCE, SAMPLE_TYPE, WATERMARK_TYPE } from './domain/usage-event.js';
export { sumDifference, sumTerms, LEDGER_TERMS, type TermSums } from './domain/sum-terms.js';
export type { MeteringDeps, MeteringOptions } from './application/deps.js';
export type { IngestResult, UsagePrincipal } from './application/intake-types.js';
export type { EngineSample, NewBinding } from './application/bindings.js';
export {
  credentialsRefused,
  FINDING_KINDS,
  SETTLEMENTS,
  type FindingKind,
  type NewFinding,
  type SettlementKind,
  type SettlementWords,
} from './application/findings.js';
export { checkSumLaw, findStrays, type SumLawFilter, type SumLawResult, type SumLawSeries } from './application/sum-law.js';
export {
  getReconciliation,
  listFindings,
  listSubmissions,
  listUsageRecords,
  sumLawTable,
  type AttemptRow,
  type FindingRow,
  type ReconciliationLineRow,
  type ReconciliationRow,
  type SubmissionRow,
  type SumLawRow,
  type UsageRecordRow,
} from './application/read-models.js';
export { Metering, registerMeteringHandlers } from './application/metering.js';
export { claimBy, settlementsOf } from './domain/finding-kinds.js';
export type { EffectivePrice } from './domain/price.js';
export { listPrices, PriceBook, type Money, type StoredPrice } from './infra/prices.sql.js';
export type { FoldedAdjustment, ToldAdjustment } from './application/fold-adjustment.js';
export { listCredits, type CreditRow, type NewCredit } from './application/credits.js';
export type { SettlementWish } from './application/settle-by-person.js';
export type { ExplainedSample, Explanation } from './application/explain.js';
export type { EventTrace, Explained, ExplainQuery } from './application/explain-any.js';
export { baseUnitOf, valueUnitOf, labelsText, sumText, unitsForPeople } from './domain/explain-words.js';
export { instantText, ofUnit } from './domain/units.js';
export { MONEY_GRAIN, type ImportResult } from './application/remittances.js';
export { REMITTANCE_FIELDS } from './application/read-remittances.js';
export { listAllocations, listRemittances, type AllocationRow, type RemittanceRow } from './infra/remittances.sql.js';
export { termUnits, type MonthHead, type MonthPiece, type MonthUnits } from './application/close-month.js';
export type { MonthMoney } from './application/month-money.js';
export type { MonthPayout } from './infra/month.sql.js';
export { newestSample, type NewestSample } from './application/newest-sample.js';
export { readAtRisk } from './application/at-risk.js';
export { LEFT_WITHIN, type AtRisk, type LeftWithin } from './domain/at-risk.js';
export type { GateStatus, MarketplaceStatus } from './application/marketplace-status.js';
export { checkJournal, JOURNAL_FORMAT, type JournalFooter, type JournalHeader } from './domain/journal.js';
export { writeJournal } from './application/write-journal.js';
export { replayJournal, type Replayed, type ReplayOptions } from './application/replay-journal.js';
export { ledgerHash } from './infra/ledger-hash.sql.js';
export { billingDiff, type BillingDiff } from './application/billing-diff.js';
export {
  advanceStep,
  beginStep,
  insertRun,
  lockRuns,
  listRunLines,
  listRuns,
  openStepOf,
  pruneRuns,
  RECONCILIATION_KINDS,
  refuseSideBySide,
  scheduledHealth,
  type NewRun,
  type NewStep,
  type ReconciliationKind,
  type RunLineRow,
  type RunRow,
  type StepCounts,
  type StepRow,
} from './application/reconciliation-runs.js';
export {
  agreeingLineFindings,
  closeAgreeing,
  openDifferences,
  openStanding,
  type OpenStanding,
  type StandingFinding,
} from './application/standing-findings.js';
export { oldestLost, toldLater } from './application/resolve-lost.js';
export { readUsageReport, type ReadUsageReport, type UsageReportFile } from './application/read-usage-report.js';
export { listUsageReports, reportsOfSpan, type UsageReportImport, type UsageReportRow } from './application/usage-reports.js';
export { REPORT_ZONES, USAGE_REPORT_FIELDS } from './domain/usage-report.js';
