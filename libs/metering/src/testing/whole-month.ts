import type { closeMonth, MonthHead, MonthUnits } from '../application/close-month.js';
import type { MonthMoney } from '../application/month-money.js';
import type { MonthPayout } from '../infra/month.sql.js';

export interface WholeMonth extends MonthHead {
  units: MonthUnits[];
  money: MonthMoney[];
  payouts: MonthPayout[];
  findings: { kind: string; open: number; settled: number }[];
}
/** All of a small month at once. */
export async function wholeMonth(closing: ReturnType<typeof closeMonth>): Promise<WholeMonth> {
  const { head, pieces } = await closing;
  const whole: WholeMonth = { ...head, units: [], money: [], payouts: [], findings: [] };
  for await (const { section, rows } of pieces) (whole[section] as unknown[]).push(...rows);
  return whole;
}
