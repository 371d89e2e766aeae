import { sumDecimals } from '#platform';
import {
  MarketplaceBusy,
  MarketplaceRefusal,
  MarketplaceUnknown,
  type ReadBackLine,
  type ReadBackQuery,
  type UsageItemOutcome,
  type UsageWireItem,
} from '#marketplaces/core';
import { type ApiAnswer, type ApiClient, failureOf } from './api-client.js';
import { parseExactJson } from './exact-json.js';
import { decimalOf, type Fields, fieldsOf, guidOf, instantOf, seatsOf, textOf } from './liberal.js';
import type { AzureSettings } from './settings.js';
import { AZURE_USAGE } from './usage-item.js';
import { readBatchAnswer } from './usage-outcomes.js';

const DAY = 86_400_000;
/** Usage that is never billed, so it is no part of what was accepted. */
const NOT_BILLED = new Set(['testheaders', 'dryrun']);

/** Usage out and back (contract azure §6). */
export class AzureMetering {
  constructor(
    private readonly settings: AzureSettings,
    private readonly api: ApiClient,
  ) {}

  async submit(items: UsageWireItem[]): Promise<UsageItemOutcome[]> {
    if (items.length === 0) return [];
    if (items.length > AZURE_USAGE.batchSize)
      throw new MarketplaceRefusal('azure.batch_too_large', `${items.length} items; ${AZURE_USAGE.batchSize} are allowed`);
    const lost = (detail: string): UsageItemOutcome[] => items.map(({ itemId }) => ({ itemId, outcome: 'unknown', detail }));
    let answer: ApiAnswer;
    try {
      answer = await this.api.call({
        method: 'POST',
        path: '/batchUsageEvent',
        // Each item's bytes as they were stored, so that a resend is the identical item.
        body: `{"request":[${items.map((item) => item.body).join(',')}]}`,
        timeoutMs: this.settings.timeoutsMs.usage,
        changes: true,
        operation: 'batchUsageEvent',
      });
    } catch (error) {
      if (error instanceof MarketplaceUnknown) return lost(error.message);
      throw error;
    }
    if (answer.status === 200) return readBatchAnswer(items, answer.text);
    const failure = failureOf('batchUsageEvent', answer, true);
    if (failure instanceof MarketplaceUnknown) return lost(failure.message);
    // Refused as a whole: which item is at fault is found by halving, which is the submitter's.
    if (failure instanceof MarketplaceRefusal) throw new MarketplaceRefusal('azure.batch_refused', failure.message, answer.status);
    throw failure;
  }

  async readBack(query: ReadBackQuery): Promise<ReadBackLine[]> {
    const first = Math.floor(query.from.getTime() / DAY) * DAY;
    const end = Math.ceil(query.to.getTime() / DAY) * DAY;
    if (end <= first) return [];
    const day = (at: number): string => new Date(at).toISOString().slice(0, 10);
    const answer = await this.api.call({
      method: 'GET',
      path: '/usageEvents',
      // Whether the end date is inclusive is not told: one day more is asked for, and left out below.
      query: { usageStartDate: day(first), UsageEndDate: day(end) },
      timeoutMs: this.settings.timeoutsMs.usage,
      changes: false,
      operation: 'listUsageEvents',
    });
    if (answer.status !== 200) throw failureOf('listUsageEvents', answer, false);
    return linesOf(answer.text, first, end, query.externalSubscriptionId ?? null);
  }
}

interface Line {
  line: ReadBackLine;
  quantities: string[];
}

function linesOf(text: string, first: number, end: number, only: string | null): ReadBackLine[] {
  let rows: unknown;
  try {
    rows = text.trim() === '' ? [] : parseExactJson(text);
  } catch {
    throw new MarketplaceBusy('listUsageEvents: the answer is not JSON');
  }
  if (!Array.isArray(rows)) throw new MarketplaceBusy('listUsageEvents: the answer is not an array');
  const lines = new Map<string, Line>();
  for (const raw of rows) {
    const row = fieldsOf(raw);
    const at = instantOf(row['usageDate']);
    const externalSubscriptionId = guidOf(row['usageResourceId']);
    const dimension = textOf(row['dimension']);
    const externalPlanId = textOf(row['planId']);
    const status = (textOf(row['reconStatus']) ?? '').toLowerCase();
    if (!at || !externalSubscriptionId || !dimension || !externalPlanId || NOT_BILLED.has(status)) continue;
    if (only !== null && externalSubscriptionId !== only.toLowerCase()) continue;
    const start = Math.floor(at.getTime() / DAY) * DAY;
    if (start < first || start >= end) continue;
    const key = [start, externalSubscriptionId, externalPlanId, dimension].join('|');
    const { line, quantities } = lines.get(key) ?? {
      line: {
        periodStart: new Date(start),
        periodEnd: new Date(start + DAY),
        externalSubscriptionId,
        externalPlanId,
        dimension,
        quantity: '0',
        count: 0,
        provisional: false,
      },
      quantities: [],
    };
    const count = seatsOf(row['submittedCount']);
    quantities.push(quantityOf(row, status));
    lines.set(key, {
      line: {
        ...line,
        quantity: sumDecimals(quantities),
        count: line.count === null || count === null ? null : line.count + count,
        provisional: line.provisional || status === 'submitted',
      },
      quantities,
    });
  }
  return [...lines.values()].map(({ line }) => line);
}

/** Not processed yet: what was submitted. Afterwards: what was processed, which for a rejected row may be nothing. */
function quantityOf(row: Fields, status: string): string {
  const submitted = decimalOf(row['submittedQuantity']);
  const processed = decimalOf(row['processedQuantity']);
  if (status === 'submitted') return submitted ?? '0';
  return processed ?? (status === 'rejected' ? '0' : (submitted ?? '0'));
}
