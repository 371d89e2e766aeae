import { toPublicId } from '#platform';
import {
  baseUnitOf,
  instantText,
  unitsForPeople,
  type EventTrace,
  type Explained,
  type ExplainedSample,
  type Explanation,
} from '#metering';
import { creditView, findingView, moneyView } from './finance-views.js';
import { submissionView, usageRecordView } from './metering-views.js';

const sampleView = (s: ExplainedSample): Record<string, unknown> => ({
  source: s.source,
  eventId: s.eventId,
  placementId: toPublicId('pla', s.placementId),
  at: s.at,
  value: s.value,
  epoch: s.epoch,
  sequence: s.sequence,
  receivedAt: s.receivedAt.toISOString(),
});

export interface StepView {
  step: string;
  words: string;
  base: string;
  units: string;
  total: string;
}
export const stepViews = (x: Explanation): StepView[] =>
  x.steps.map((s) => ({
    step: s.step,
    words: s.words,
    base: s.base.toString(),
    units: unitsForPeople(s.base, BigInt(x.terms.basePerUnit)),
    total: s.total.toString(),
  }));

export const explanationView = (x: Explanation): Record<string, unknown> => ({
  subscriptionId: toPublicId('sub', x.subscriptionId),
  tenantId: toPublicId('ten', x.tenantId),
  marketplace: x.marketplace,
  segmentId: toPublicId('seg', x.segmentId),
  meter: x.meter,
  dimension: x.terms.dimension,
  planId: x.externalPlanId,
  hour: x.hour.toISOString(),
  closedAt: x.closedAt.toISOString(),
  unit: { listed: x.terms.listedUnit, base: baseUnitOf(x.terms), basePerUnit: x.terms.basePerUnit, decimals: x.terms.decimals },
  record: x.record ? usageRecordView(x.record) : null,
  words: x.words,
  arithmetic: stepViews(x),
  measurement: x.lines.map((l) => ({
    placementId: l.stream ? toPublicId('pla', l.stream.split('@')[0]!) : null,
    segmentId: l.segmentId ? toPublicId('seg', l.segmentId) : null,
    from: instantText(l.from),
    to: instantText(l.to),
    value: l.value.toString(),
    kind: l.kind,
    amount: l.amount.toString(),
  })),
  samples: x.samples.map(sampleView),
  submission: x.submission ? submissionView(x.submission) : null,
  lateOutcome: x.lateOutcome && { ...x.lateOutcome, at: x.lateOutcome.at.toISOString() },
  money: moneyView(x.money),
  calculatedAgain: { sameInputs: x.sameInputs, equal: x.differs.length === 0, differs: x.differs },
  later: x.later.map((l) => ({ term: l.term, cause: l.cause, reference: l.ref, base: l.quantity, at: l.recordedAt.toISOString() })),
  findings: x.findings.map((f) => findingView(f, null)),
  credits: x.credits.map(creditView),
});

const traceView = (e: EventTrace): Record<string, unknown> => ({
  ...sampleView(e),
  metric: e.metric,
  subscriptionId: e.subscriptionId ? toPublicId('sub', e.subscriptionId) : null,
  traces: e.traces.map((t) => ({
    meter: t.meter,
    hour: t.hour.toISOString(),
    state: t.state,
    words: t.words,
    nextRecordId: t.nextRecordId ? toPublicId('rec', t.nextRecordId) : null,
    explanation: t.explanation ? explanationView(t.explanation) : null,
  })),
});

export const explainedView = (x: Explained): Record<string, unknown> =>
  x.found === 'event'
    ? { found: x.found, events: x.events.map(traceView), explanations: [] }
    : { found: x.found, events: [], explanations: x.explanations.map(explanationView) };
