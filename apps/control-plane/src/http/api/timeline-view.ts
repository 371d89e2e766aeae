import { toPublicId, type IdPrefix } from '#platform';
import type { TimelineRow } from '../../processes/read-timeline.js';

type Facts = TimelineRow['facts'];
const text = (value: unknown): string => (value === null || value === undefined || value === '' ? '' : String(value));
const after = (before: string, value: unknown): string => (text(value) ? `${before}${text(value)}` : '');

const CALL_ENDS: Record<string, string> = {
  intent: 'no answer yet',
  ok: 'answered yes',
  refused: 'answered no',
  unknown: 'the answer was lost',
};
const OPERATION_ENDS: Record<string, string> = { running: 'in work', succeeded: 'done', failed: 'failed', cancelled: 'given up' };
const EXPORTS: Record<string, string> = {
  not_needed: 'nothing is to be taken along',
  open: 'nobody has said that it was taken along',
  confirmed: 'it was taken along, or is not wanted',
  waived: 'it is deleted without that word',
};
const DECISIONS: Record<string, string> = {
  accepted: 'accepted, not in force yet',
  applied: 'accepted and in force',
  refused: 'refused',
  dropped: 'dropped',
};

/** One sentence for a person; the facts behind it are in the entry too. */
const SUMMARIES: Record<TimelineRow['kind'], (f: Facts) => string> = {
  inbound: (f) =>
    `A message came from ${text(f['source'])}: ${text(f['state'])}${after(', ', f['note'])}${after('; answered ', f['answered'])}`,
  decision: (f) =>
    `A change ${f['change'] === 'plan' ? `to plan ${text(f['toPlan'])}` : `to ${text(f['toQuantity'])} units`} was ${DECISIONS[text(f['state'])] ?? text(f['state'])}${after(': ', f['reason'])}`,
  event: (f) => `The marketplace told: ${text(f['event'])}${after(' (', f['note'])}${f['note'] ? ')' : ''}; ${text(f['outcome'])}`,
  segment: (f) =>
    `Counting ${f['sequence'] === 1 ? 'began' : 'was cut'} (${text(f['reason'])}): plan ${text(f['plan'])}${after(', quantity ', f['quantity'])}${f['billable'] ? '' : ', not billed'}`,
  ended: (f) => `Access ended; the purchase is ${text(f['state'])}`,
  call: (f) => `We called ${text(f['target'])}, ${text(f['operation'])}: ${CALL_ENDS[text(f['state'])] ?? text(f['state'])}`,
  operation: (f) => `Operation ${text(f['operation'])}: ${OPERATION_ENDS[text(f['state'])] ?? text(f['state'])}${after(', ', f['error'])}`,
  export: (f) =>
    `Before the data is deleted: ${EXPORTS[text(f['state'])] ?? text(f['state'])}${after('; readable until ', f['accessUntil'])} (${text(f['reason'])})`,
  finding: (f) => `A difference was found: ${text(f['finding'])}${f['settlement'] ? `, settled by ${text(f['settlement'])}` : ', open'}`,
};

const PREFIXES: Record<string, IdPrefix> = {
  inboxId: 'inb',
  changeRequestId: 'chg',
  fulfillmentEventId: 'fev',
  segmentId: 'seg',
  callId: 'cal',
  operationId: 'op',
  findingId: 'fin',
  placementId: 'pla',
};

export const timelineView = (row: TimelineRow): Record<string, unknown> => ({
  kind: row.kind,
  at: row.at.toISOString(),
  summary: SUMMARIES[row.kind](row.facts),
  facts: row.facts,
  references: Object.fromEntries(
    Object.entries(row.refs).flatMap(([name, id]) => (id && PREFIXES[name] ? [[name, toPublicId(PREFIXES[name], id)]] : [])),
  ),
  ...(row.call ? { call: row.call } : {}),
  ...(row.evidence ? { evidence: row.evidence } : {}),
});
