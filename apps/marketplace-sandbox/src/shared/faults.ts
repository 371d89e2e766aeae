import { randomUUID } from 'node:crypto';
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
] as const;
/** What `malformed_after` makes of the answer: half of it, a proxy's page, nothing, or half of it and then the line is cut. */
export const malformedShapes = ['truncated', 'html', 'empty', 'cut'] as const;
export const webhookFaultKinds = ['duplicate_webhook', 'reorder_webhook', 'lose_webhook'] as const;
/** Some records of a batch are left for later. */
export const recordFaultKinds = ['unprocessed'] as const;
/** For messages of a topic; `operation` is their type. */
export const eventFaultKinds = ['duplicate_event', 'reorder_event', 'hold_event'] as const;

export type CallFaultKind = (typeof callFaultKinds)[number];
export type WebhookFaultKind = (typeof webhookFaultKinds)[number];

/** `operation` is an operation of the calls log, for webhooks an action (ChangePlan …), or `*`. */
export const faultBody = z.object({
  marketplace: z.string().min(1),
  operation: z.string().min(1).default('*'),
  kind: z.enum([...callFaultKinds, ...webhookFaultKinds, ...recordFaultKinds, ...eventFaultKinds]),
  times: z.number().int().positive().default(1),
  status: z.number().int().min(400).max(599).optional(),
  delayMs: z.number().int().nonnegative().optional(),
  /** How many records `unprocessed` leaves; all of them unless told. */
  records: z.number().int().positive().optional(),
  /** For `malformed_after`. */
  shape: z.enum(malformedShapes).default('truncated'),
  /** For `skew`: how far the `Date` of the answer is from real time; negative is behind. */
  skewMs: z.number().int().default(-600_000),
  retryAfter: z.union([z.number().int().nonnegative(), z.string()]).optional(),
});

export interface Fault extends z.output<typeof faultBody> {
  id: string;
  /** How often it will still strike. */
  remaining: number;
}

export class Faults {
  private readonly table: Table<Fault>;

  constructor(store: Store) {
    this.table = store.table<Fault>('faults');
  }

  add(input: z.output<typeof faultBody>): Fault {
    const fault: Fault = { id: randomUUID(), ...input, remaining: input.times };
    return this.table.put(fault.id, fault);
  }

  list(): Fault[] {
    return this.table.values();
  }

  clear(): void {
    this.table.clear();
  }

  /** Takes one strike of the oldest fault that matches. */
  take(marketplace: string, operation: string, kinds: readonly Fault['kind'][]): Fault | undefined {
    const fault = this.table
      .values()
      .find((one) => one.marketplace === marketplace && (one.operation === '*' || one.operation === operation) && kinds.includes(one.kind));
    if (!fault) return undefined;
    if (fault.remaining <= 1) this.table.delete(fault.id);
    else this.table.put(fault.id, { ...fault, remaining: fault.remaining - 1 });
    return fault;
  }
}
