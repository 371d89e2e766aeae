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
} from './application/findings.js';
export { checkSumLaw, type SumLawFilter, type SumLawResult, type SumLawSeries } from './application/sum-law.js';
export {
  getReconciliation,
  listFindings,
  listReconciliations,
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
