import { createHash, randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { Store, Table } from './store.js';

export const callFaultKinds = [
  'status',
  'throttle',
  'time_out_before',
  'time_out_after',
  'drop_before',
  'drop_after',
  'delay_before',
  'delay_after',
  'malformed_after',
  'slow_after',
  'skew',
  'expired_token',
] as const;
/** What `malformed_after` makes of the answer: half of it, a proxy's page, nothing, half of it and then the line is cut, or all of it under a wrong content type. */
export const malformedShapes = ['truncated', 'html', 'empty', 'cut', 'wrong_type'] as const;
/** For a marketplace's own notifications (webhook, event, topic message); `operation` is their name. The same at all three. */
export const notificationFaultKinds = [
  'duplicate_notification',
  'reorder_notification',
  'delay_notification',
  'lose_notification',
] as const;
/** Of one attempt to deliver over HTTP, whose repetition is whole again; repetitions count as calls of their own. */
export const attemptFaultKinds = ['slow_notification', 'malformed_notification'] as const;
/** Of the token that an attempt carries: Azure's webhooks and Google's pushes. */
export const tokenFaultKinds = ['expired_token_notification', 'skew_notification'] as const;
/** What they were called while each marketplace had its own. */
const FORMER_NAMES = {
  duplicate_webhook: 'duplicate_notification',
  duplicate_event: 'duplicate_notification',
  reorder_webhook: 'reorder_notification',
  reorder_event: 'reorder_notification',
  lose_webhook: 'lose_notification',
} as const;
const formerNames = Object.keys(FORMER_NAMES) as (keyof typeof FORMER_NAMES)[];
/** Some records of a batch are left for later, in the marketplace's own words for it. */
export const recordFaultKinds = ['unprocessed'] as const;
/** Google: the message waits for `notify`. */
export const heldFaultKinds = ['hold_event'] as const;

export const allFaultKinds = [
  ...callFaultKinds,
  ...notificationFaultKinds,
  ...attemptFaultKinds,
  ...tokenFaultKinds,
  ...recordFaultKinds,
  ...heldFaultKinds,
] as const;
export type FaultKind = (typeof allFaultKinds)[number];

/** `operation` is an operation of the calls log, for notifications their name (ChangePlan …), or `*`. */
const fields = z.object({
  marketplace: z.enum(['azure', 'aws', 'gcp']),
  operation: z.string().min(1).default('*'),
  kind: z.enum([...allFaultKinds, ...formerNames]),
  /** How often it strikes at most; 1, and with `rate` without end. */
  times: z.number().int().positive().optional(),
  /** The share of calls that are struck; which ones follows from `seed` alone. Without it each call is struck. */
  rate: z.number().min(0).max(1).optional(),
  /** Of `rate`; the sandbox's own (SANDBOX_SEED) unless told. */
  seed: z.union([z.string().min(1).max(200), z.number().int()]).optional(),
  status: z.number().int().min(400).max(599).optional(),
  delayMs: z.number().int().nonnegative().optional(),
  /** How many records `unprocessed` leaves; all of them unless told. */
  records: z.number().int().positive().optional(),
  /** For `malformed_after` and `malformed_notification`. */
  shape: z.enum(malformedShapes).default('truncated'),
  /** How far the `Date` of the answer (`skew`) or the times of the token (`skew_notification`) are from real time; negative is behind. */
  skewMs: z.number().int().default(-600_000),
  retryAfter: z.union([z.number().int().nonnegative(), z.string()]).optional(),
});

/** Where a kind can strike at all; a rule for elsewhere would wait for ever. */
export const ONLY_AT: Partial<Record<FaultKind, readonly string[]>> = {
  hold_event: ['gcp'],
  expired_token_notification: ['azure', 'gcp'],
  skew_notification: ['azure', 'gcp'],
};
export const faultBody = fields.superRefine(({ marketplace, kind }, context) => {
  const places = ONLY_AT[kindOf({ kind })];
  if (places && !places.includes(marketplace))
    context.addIssue({ code: 'custom', path: ['kind'], message: `${kind} strikes at ${places.join(' and ')} only` });
});

export interface Fault extends Omit<z.output<typeof faultBody>, 'seed' | 'times'> {
  id: string;
  /** Only with `rate`. */
  seed?: string;
  /** How often it will still strike; null without end. */
  remaining: number | null;
  struck: number;
  /** Calls that it has looked at, by operation. */
  seen: Record<string, number>;
  /** The newest that were struck: the nth call of an operation since the rule was set, counted from 1. */
  strikes: { operation: string; call: number }[];
}

const KEPT_STRIKES = 100;
const KEPT_SPENT = 50;

/** Scripted faults. They are durable, and so is what they have seen: a restart repeats no strike. */
export class Faults {
  private readonly table: Table<Fault>;
  private readonly used: Table<Fault>;

  constructor(
    store: Store,
    /** Of rules with a rate and no seed of their own. */
    readonly seed: string,
  ) {
    this.table = store.table<Fault>('faults');
    this.used = store.table<Fault>('faults.spent');
  }

  add({ seed, times, ...input }: z.output<typeof faultBody>): Fault {
    const isSeeded = input.rate !== undefined;
    const fault: Fault = {
      id: randomUUID(),
      ...input,
      ...(isSeeded ? { seed: String(seed ?? this.seed) } : {}),
      remaining: times ?? (isSeeded ? null : 1),
      struck: 0,
      seen: {},
      strikes: [],
    };
    return this.table.put(fault.id, fault);
  }

  list(): Fault[] {
    return this.table.values();
  }

  /** The newest that have struck for the last time. */
  spent(): Fault[] {
    return this.used.values();
  }

  remove(id: string): boolean {
    return this.table.delete(id);
  }

  clear(): void {
    this.table.clear();
    this.used.clear();
  }

  /** The oldest rule that matches and strikes takes the call; the rules after it have not seen it. */
  take(marketplace: string, operation: string, kinds: readonly FaultKind[]): Fault | undefined {
    for (const fault of this.table.values()) {
      if (fault.marketplace !== marketplace || (fault.operation !== '*' && fault.operation !== operation)) continue;
      if (!kinds.includes(kindOf(fault))) continue;
      const call = (fault.seen[operation] ?? 0) + 1;
      const isStruck = strikes(fault, operation, call);
      const next: Fault = { ...fault, seen: { ...fault.seen, [operation]: call } };
      if (!isStruck) {
        this.table.put(fault.id, next);
        continue;
      }
      next.struck += 1;
      next.strikes = [...fault.strikes, { operation, call }].slice(-KEPT_STRIKES);
      if (next.remaining !== null) next.remaining -= 1;
      if (next.remaining === 0) this.spend(next);
      else this.table.put(fault.id, next);
      return next;
    }
    return undefined;
  }

  private spend(fault: Fault): void {
    this.table.delete(fault.id);
    this.used.put(fault.id, fault);
    const over = this.used.values().slice(0, -KEPT_SPENT);
    for (const { id } of over) this.used.delete(id);
  }
}

export function kindOf({ kind }: Pick<Fault, 'kind'>): FaultKind {
  return kind in FORMER_NAMES ? FORMER_NAMES[kind as keyof typeof FORMER_NAMES] : (kind as FaultKind);
}

/**
 * Whether a rule strikes the nth call of an operation. It hangs on the seed, the rule and that number alone: not on the
 * time, and not on what other operations do in between, so that the same calls meet the same faults in every run.
 */
export function strikes(fault: Pick<Fault, 'marketplace' | 'kind' | 'rate' | 'seed'>, operation: string, call: number): boolean {
  const { rate, seed, marketplace } = fault;
  if (rate === undefined) return true;
  const digest = createHash('sha256')
    .update(JSON.stringify([seed, marketplace, kindOf(fault), operation, call]))
    .digest();
  return digest.readUIntBE(0, 6) / 2 ** 48 < rate;
}

/** Fault `unprocessed`: how many of a batch's last records are left for later; all of them unless told. */
export function leftForLater(faults: Faults, marketplace: string, operation: string, count: number): number {
  if (count === 0) return 0;
  const fault = faults.take(marketplace, operation, ['unprocessed']);
  return fault ? Math.min(count, fault.records ?? count) : 0;
}
