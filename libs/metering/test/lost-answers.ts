import type { FakeFault } from '#marketplaces/core/testing';
import { expect } from 'vitest';
import type { TestDatabase } from '../../../test/support/database.js';
import { explainRecord } from '../src/application/explain.js';
import { getReconciliation, type UsageReportImport } from '../src/index.js';
import { at, GIB, type Harness, type Purchase } from '../src/testing/index.js';
import { houseOfClosedHours } from './closed-hours.js';

/** One purchase at a marketplace where a lost answer is never asked for again, and the comparisons that may tell it. */
export class LostAnswers {
  database: TestDatabase | undefined;
  h!: Harness;
  p!: Purchase;

  /** Three units an hour. That of 10:00 has a receipt; those after it lost their answers as `faults` say. */
  async house(...faults: FakeFault[]): Promise<void> {
    await this.oneHour();
    await this.h.metering.submitDue();
    for (const [n, fault] of faults.entries()) {
      const [from, to] = [at(`10T${11 + n}:05`), at(`10T${12 + n}:00`)];
      this.h.clock.set(to);
      await this.h.report([this.p.placementId], from, to, 3n * GIB);
      await this.h.metering.closeDueHours();
      this.h.market.failNext('submitUsage', fault);
      await this.h.metering.submitDue();
    }
  }

  /** One hour, and no answer about it. */
  async lostAtOnce(fault: FakeFault): Promise<void> {
    await this.oneHour();
    this.h.market.failNext('submitUsage', fault);
    await this.h.metering.submitDue();
  }

  private async oneHour(): Promise<void> {
    const { database, h, purchases } = await houseOfClosedHours(1, undefined, { safeResend: false });
    Object.assign(this, { database, h, p: purchases[0]! });
  }

  async close(): Promise<void> {
    await this.h.close();
    await this.database?.drop();
  }

  async pastDeadlines(when = '12T06:00'): Promise<void> {
    this.h.clock.set(at(when));
    await this.h.metering.submitDue();
  }

  /** What a comparison said of the days, line by line: ours, theirs, verdict. */
  async readBack(from = '10T00:00', to = '12T00:00'): Promise<unknown[]> {
    const id = await this.wish(from, to);
    await this.h.metering.runReconciliation(id);
    return this.told(id);
  }

  /** Imports a report of finance's and compares with all there are. */
  async report(csv: string, over: Partial<UsageReportImport> = {}): Promise<unknown[]> {
    await this.h.db.ops((tx) => this.h.metering.importUsageReport(tx, { marketplace: 'azure', csv, by: 'ada-1', ...over }));
    const id = await this.wish('01T00:00', '30T00:00');
    await this.h.db.ops((tx) => this.h.metering.compareUsageReports(tx, id));
    return this.told(id);
  }

  /** A report of one day. */
  line(quantity: string, name = this.p.externalSubscriptionId, day = '2026-03-10'): string {
    return `UsageDate,AssetId,MeterDimension,MeteredUsage\n${day},${name},stored,${quantity}\n`;
  }

  private wish(from: string, to: string): Promise<string> {
    return this.h.db.ops((tx) =>
      this.h.metering.requestReconciliation(tx, { marketplace: 'azure', from: at(from), to: at(to), requestedBy: 'ada' }),
    );
  }

  private async told(id: string): Promise<unknown[]> {
    const done = await this.h.db.ops((tx) => getReconciliation(tx, id));
    return done!.lines!.map((l) => [Number(l.ours), Number(l.theirs), l.verdict]);
  }

  async items(): Promise<unknown[]> {
    const rows = await this.h.rows<{ state: string; last_code: string }>('select state, last_code from submission_items order by hour');
    return rows.map((i) => [i.state, i.last_code]);
  }

  /** Kinds of open findings. */
  async open(): Promise<string[]> {
    const rows = await this.h.rows<{ kind: string }>('select kind from findings where settlement is null order by kind');
    return rows.map((r) => r.kind);
  }

  /** What the open finding says of the newest comparison that could tell. */
  async why(): Promise<string | undefined> {
    const rows = await this.h.rows<{ words: string }>(
      `select evidence -> 'compared' ->> 'words' as words from findings where kind = 'unknown_outcome' and settlement is null`,
    );
    return rows[0]?.words;
  }

  /** Units of each term that is not 0. */
  async terms(): Promise<Record<string, number>> {
    const rows = await this.h.rows<{ term: string; q: number }>(
      `select term, (sum(quantity) / $1::numeric)::float as q from ledger_entries group by term having sum(quantity) <> 0`,
      [(GIB * 3_600_000_000n).toString()],
    );
    return Object.fromEntries(rows.map((r) => [r.term, r.q]));
  }

  async lawHolds(): Promise<void> {
    const law = await this.h.db.ops((tx) => this.h.metering.checkSumLaw(tx));
    expect(law.series.flatMap((s) => s.missing)).toEqual([]);
    expect(law.ok).toBe(true);
  }

  /** The newest record, in words. */
  async explained(): Promise<string> {
    const [last] = await this.h.rows<{ record_id: string }>('select record_id from usage_records order by hour desc limit 1');
    return (await this.h.db.ops((tx) => explainRecord(tx, this.h.deps, last!.record_id))).words.join('\n');
  }
}
