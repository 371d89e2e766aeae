import type { BilledItem, NamedFinding, Reading, Verdict } from './judge.mjs';

export interface Row {
  id: string;
  struck: Record<'azure' | 'aws' | 'gcp', number>;
  deeds: number;
  verdict: Verdict;
}
export interface Result {
  rows: Row[];
  evidence: { log: Reading[]; billed: BilledItem[]; findings: NamedFinding[]; fromMs: number; untilMs: number };
  notes: string[];
  seconds: number;
}
export interface Size {
  subscriptions: number;
  hours: number;
  seed: number;
  layout?: 'split' | 'one';
  redis?: boolean;
  keep?: boolean;
  tell?: (line: string) => void;
}
export function playScenario(scenario: object, size: Size): Promise<Result>;
