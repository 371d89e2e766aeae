export interface Reading {
  at: string;
  marketplace: string;
  externalId: string;
  metric: string;
  value: string;
}
export interface BilledItem {
  marketplace: string;
  externalId: string;
  dimension: string;
  hour: string;
  quantity: string;
}
export interface NamedFinding {
  kind: string;
  externalId: string;
  dimension: string;
  hour: string;
  units: string;
}
export interface Place {
  key: string;
  amount: bigint;
  kind?: string;
}
export interface Verdict {
  hours: number;
  billedHours: number;
  owed: bigint;
  billed: bigint;
  lost: Place[];
  doubled: Place[];
  silent: Place[];
  named: Place[];
}
export interface Evidence {
  log: Reading[];
  billed: BilledItem[];
  findings: NamedFinding[];
  fromMs: number;
  untilMs: number;
  only?: { fromMs: number; untilMs: number };
}
export function millionths(text: string): bigint;
export function owed(log: Reading[], span: { fromMs: number; untilMs: number }): Map<string, bigint>;
export function judge(evidence: Evidence): Verdict;
export function holds(verdict: Verdict): boolean;
export function isEven(verdict: Verdict): boolean;
export function unitsText(amount: bigint): string;
