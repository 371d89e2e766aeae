import { HOUR, SECOND } from '../shared/clock.js';
import { stringifyExact, sumDecimals } from '../shared/exact-json.js';
import type { GcpContext } from './context.js';
import type { Operation } from './operations.js';
import type { GcpEntitlement, GcpUsage } from './types.js';

export interface CheckError {
  code: string;
  subject: string;
  detail: string;
}

export interface ReportError {
  operationId: string;
  status: { code: number; message: string };
}

const CHECK_CACHED_MS = 60 * SECOND;
const CLOCK_SLACK_MS = 60 * SECOND;
const AFTER_CANCELLATION_MS = HOUR;
const USABLE = new Set([
  'ENTITLEMENT_ACTIVE',
  'ENTITLEMENT_PENDING_CANCELLATION',
  'ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL',
  'ENTITLEMENT_PENDING_PLAN_CHANGE',
]);

/** google.rpc.Code */
const INTERNAL = 13;
const [INVALID, NOT_FOUND, EXISTS, DENIED, PRECONDITION] = [3, 5, 6, 7, 9] as const;

/** The rules of contract gcp §4 for operations whose shape is good. */
export class ServiceControl {
  constructor(private readonly context: GcpContext) {}

  check(operation: Operation): CheckError | undefined {
    const { state, clock } = this.context;
    const entitlement = state.byConsumer(operation.consumerId);
    const code = entitlement ? checkCode(entitlement, state.entitlements.has(entitlement.id)) : 'CONSUMER_INVALID';
    if (code)
      return {
        code,
        subject: operation.consumerId.replace('project_number:', 'project:'),
        detail: `The consumer cannot use the service: ${code}.`,
      };
    state.checks.put(operation.operationId, { consumerId: operation.consumerId, at: clock.nowMs() });
    state.checks.put(`consumer|${operation.consumerId}`, { consumerId: operation.consumerId, at: clock.nowMs() });
    return undefined;
  }

  /** Outcomes are told per operation, in an answer that is 200 as a whole. */
  report(operation: Operation, raw: unknown): ReportError | undefined {
    const fault = this.take(operation, stringifyExact(raw));
    return fault && { operationId: operation.operationId, status: { code: fault[0], message: fault[1] } };
  }

  private take(operation: Operation, text: string): [number, string] | undefined {
    const { state, settings } = this.context;
    const { operationId, consumerId } = operation;
    const entitlement = state.byConsumer(consumerId);
    if (!entitlement || !entitlement.reportingIdShown) return [NOT_FOUND, `Consumer ${consumerId} not found or not active.`];
    if (entitlement.reportErrors > 0) {
      state.entitlements.put(entitlement.id, { ...entitlement, reportErrors: entitlement.reportErrors - 1 });
      return [INTERNAL, 'Internal error.'];
    }
    const before = state.operations.get(operationId);
    if (before && settings().dedupe === 'trusted') {
      // Identical operations are billed once (contract gcp §4, Dedupe).
      return before.text === text ? undefined : [EXISTS, `Operation '${operationId}' was reported before with other content.`];
    }
    const fault =
      this.consumerFault(operation, entitlement) ??
      this.windowFault(operation) ??
      this.planFault(operation, entitlement) ??
      this.continuityFault(operation, entitlement);
    if (fault) return fault;
    this.accept(operation, entitlement, text);
    return undefined;
  }

  private consumerFault(operation: Operation, entitlement: GcpEntitlement): [number, string] | undefined {
    const { state, clock, settings } = this.context;
    const inactive: [number, string] = [NOT_FOUND, `Consumer ${operation.consumerId} not found or not active.`];
    if (!state.entitlements.has(entitlement.id)) return inactive;
    if (entitlement.state === 'ENTITLEMENT_CANCELLED') {
      // Usage from before it is taken for one hour more; check cannot be asked any longer (contract gcp §4, Deadlines).
      if (!entitlement.cancelledAt || !entitlement.activatedAt) return inactive;
      const at = Date.parse(entitlement.cancelledAt);
      return clock.nowMs() <= at + AFTER_CANCELLATION_MS && Date.parse(operation.endTime) <= at ? undefined : inactive;
    }
    if (!USABLE.has(entitlement.state)) return inactive;
    if (entitlement.billingDisabledAt && Date.parse(operation.startTime) >= Date.parse(entitlement.billingDisabledAt))
      return [DENIED, `Billing is disabled for consumer ${operation.consumerId}.`];
    if (settings().checkFirst === 'required' && !entitlement.billingDisabledAt && !this.wasChecked(operation))
      return [PRECONDITION, `Operation '${operation.operationId}' was not checked before it was reported.`];
    return undefined;
  }

  private wasChecked(operation: Operation): boolean {
    const { state, clock } = this.context;
    if (state.checks.get(operation.operationId)?.consumerId === operation.consumerId) return true;
    const last = state.checks.get(`consumer|${operation.consumerId}`);
    return last !== undefined && clock.nowMs() - last.at <= CHECK_CACHED_MS;
  }

  private windowFault(operation: Operation): [number, string] | undefined {
    const [start, end] = [Date.parse(operation.startTime), Date.parse(operation.endTime)];
    if (end > this.context.clock.nowMs() + CLOCK_SLACK_MS) return [INVALID, 'The end time is in the future.'];
    if (end - start > this.context.settings().maxWindowSeconds * SECOND)
      return [INVALID, 'The interval between start and end time is too long.'];
    return undefined;
  }

  /** A metric counts while its plan was in force in some part of the window. */
  private planFault(operation: Operation, entitlement: GcpEntitlement): [number, string] | undefined {
    const plans = plansDuring(entitlement, operation);
    if (!plans.length) return [PRECONDITION, 'The entitlement was not active in the interval.'];
    for (const { metric } of operation.metrics) {
      if (!this.planWith(metric.id, plans)) return [INVALID, `Metric '${metric.id}' does not belong to the plan ${plans.join(' or ')}.`];
    }
    return undefined;
  }

  /** Values are deltas and summed: two windows over the same minutes would bill them twice. */
  private continuityFault(operation: Operation, entitlement: GcpEntitlement): [number, string] | undefined {
    const { overlaps, gaps } = this.context.settings();
    const [start, end] = [Date.parse(operation.startTime), Date.parse(operation.endTime)];
    for (const { metric } of operation.metrics) {
      const others = this.context.state.usage
        .values()
        .filter((one) => one.entitlementId === entitlement.id && one.metric === metric.id && one.operationId !== operation.operationId);
      // Of one window there may be an operation for each set of user labels, over exactly that window.
      const isPartOf = (one: GcpUsage): boolean =>
        one.labels !== '' &&
        operation.labels !== '' &&
        one.labels !== operation.labels &&
        Date.parse(one.startTime) === start &&
        Date.parse(one.endTime) === end;
      const overlapping = others.filter((one) => Date.parse(one.startTime) < end && start < Date.parse(one.endTime));
      if (overlaps === 'refused' && !overlapping.every(isPartOf))
        return [INVALID, `The interval overlaps one that was reported before for '${metric.id}'.`];
      const last = others.reduce((most, one) => Math.max(most, Date.parse(one.endTime)), 0);
      if (gaps === 'refused' && last > 0 && start > last)
        return [INVALID, `The interval does not start where the last one of '${metric.id}' ended.`];
    }
    return undefined;
  }

  private accept(operation: Operation, entitlement: GcpEntitlement, text: string): void {
    const { state, clock } = this.context;
    const acceptedAt = clock.now().toISOString();
    const plans = plansDuring(entitlement, operation);
    state.operations.put(operation.operationId, { text, at: acceptedAt });
    for (const { metric, values } of operation.metrics) {
      const usage: GcpUsage = {
        operationId: operation.operationId,
        entitlementId: entitlement.id,
        plan: this.planWith(metric.id, plans) ?? entitlement.plan,
        metric: metric.id,
        startTime: operation.startTime,
        endTime: operation.endTime,
        hour: new Date(Math.floor(Date.parse(operation.startTime) / HOUR) * HOUR).toISOString(),
        labels: operation.labels,
        quantity: values.length === 1 ? (values[0] ?? '0') : sumDecimals(values),
        acceptedAt,
      };
      // A table key per acceptance: with `summed` the same operation is billed as often as it is sent.
      state.usage.put(`${operation.operationId}|${metric.id}|${state.next('usage')}`, usage);
    }
  }

  private planWith(metricId: string, plans: string[]): string | undefined {
    return plans.find((plan) =>
      this.context.settings().plans.some((one) => one.id === plan && one.metrics.some((metric) => metric.id === metricId)),
    );
  }
}

function checkCode(entitlement: GcpEntitlement, exists: boolean): string | undefined {
  if (entitlement.checkError) return entitlement.checkError;
  if (!exists || !USABLE.has(entitlement.state) || !entitlement.reportingIdShown) return 'SERVICE_NOT_ACTIVATED';
  return entitlement.billingDisabledAt ? 'BILLING_DISABLED' : undefined;
}

function plansDuring(entitlement: GcpEntitlement, operation: Operation): string[] {
  const [start, end] = [Date.parse(operation.startTime), Date.parse(operation.endTime)];
  return entitlement.planHistory
    .filter(({ from }, index) => {
      const next = entitlement.planHistory[index + 1];
      return Date.parse(from) < end && (next === undefined || Date.parse(next.from) > start);
    })
    .map(({ plan }) => plan);
}
