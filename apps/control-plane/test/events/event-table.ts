import { randomUUID } from 'node:crypto';
import { MarketplaceBusy, type FulfillmentEvent, type Marketplace, type StoredInbound, type SubscriptionTruth } from '#marketplaces/core';
import { subscriptionIdOf } from '#entitlements';
import type { SubscriptionState } from '#marketplaces/core';
import { normaliseInbound } from '../../src/processes/normalise-inbound.js';
import type { Flows } from '../support/flows.js';

export const OUR_STATES = ['none', 'scheduled', 'pending_fulfillment', 'active', 'suspended', 'closing', 'cancelled', 'voided'] as const;
export type OurState = (typeof OUR_STATES)[number];

/** The outcome of each event in each state of ours. */
export type EventTable = Map<string, Record<OurState, string>>;

/**
 * Reads a table as a person has written and checked it; nothing of it is computed. A cell reads `state after: what was
 * published`; `=` alone is an event that was ignored: stored, shown, and nothing else. `parked` waits for a person or another
 * message; what follows it was done all the same. `decision` is a yes or no that the marketplace wants.
 */
export function eventTable(text: string): EventTable {
  const [head, , ...rows] = text
    .trim()
    .split('\n')
    .map((line) =>
      line
        .replace(/^\||\|$/g, '')
        .split('|')
        .map((cell) => cell.trim()),
    );
  if (head!.slice(1).join() !== OUR_STATES.join()) throw new Error('the columns of a table are our states, in their order');
  return new Map(
    rows.map(([name, ...cells]) => {
      if (cells.length !== OUR_STATES.length) throw new Error(`${name}: ${cells.length} cells`);
      return [name!, Object.fromEntries(OUR_STATES.map((state, i) => [state, cells[i]!])) as Record<OurState, string>];
    }),
  );
}

const TYPES = [
  'needs_tenant',
  'tenant_bound',
  'activated',
  'scheduled',
  'started',
  'suspended',
  'reinstated',
  'changed',
  'ended',
  'cancelled',
  'voided',
  'succession_due',
  'superseded',
  'data_deletion_due',
];
const LISTENER = 'a.table.listens';

/** Every event of a purchase is told to the table, also those that no flow wants. */
export function listen(flows: Flows): void {
  for (const type of TYPES) flows.tasks.subscribe(`subscription.${type}`, LISTENER);
}

export interface EventCase {
  /** Before the event: the truth that brings our purchase to a state. */
  truth(state: 'scheduled' | 'pending_fulfillment' | 'active' | 'suspended' | 'ended' | 'voided'): SubscriptionTruth;
  /** The message, with what the marketplace answers from now on. */
  message(): StoredInbound;
}

export interface Playing {
  marketplace: Marketplace;
  flows: Flows;
  /** A purchase of its own for each cell, so that none sees another's. */
  purchase(name: string): EventCase & { externalId: string };
}

const PATHS: Record<Exclude<OurState, 'none'>, Parameters<EventCase['truth']>[0][]> = {
  scheduled: ['scheduled'],
  pending_fulfillment: ['pending_fulfillment'],
  active: ['pending_fulfillment', 'active'],
  suspended: ['pending_fulfillment', 'active', 'suspended'],
  closing: ['pending_fulfillment', 'active', 'ended'],
  cancelled: ['pending_fulfillment', 'active', 'ended'],
  voided: ['pending_fulfillment', 'voided'],
};

/** Brings a purchase into a state by the real machine, sends the event, and tells what came of it. */
export async function outcomeOf({ marketplace, flows, purchase }: Playing, name: string, state: OurState): Promise<string> {
  const one = purchase(name);
  const id = subscriptionIdOf(marketplace, one.externalId);
  const { p, db } = flows;
  if (state !== 'none') {
    for (const step of PATHS[state]) {
      const truth = one.truth(step);
      const event: FulfillmentEvent = {
        kind: 'changed',
        marketplace,
        externalSubscriptionId: one.externalId,
        occurredAt: flows.clock.now(),
        truth,
        note: step,
      };
      await db.ops((tx) => p.subscriptions.apply(tx, event, null));
      flows.clock.advance(1_000);
      if (step === 'pending_fulfillment' && PATHS[state].length > 1 && state !== 'voided')
        await db.ops(async (tx) => {
          const { tenantId } = await p.tenants.ensureForPurchase(tx, { purchaseId: id, displayName: name, region: 'here', contact: null });
          await p.subscriptions.bindTenant(tx, id, tenantId);
        });
    }
    if (state === 'cancelled') await db.ops((tx) => p.subscriptions.settle(tx, id));
    const reached = await flows.state(id);
    if (reached !== state) throw new Error(`${name}: the purchase is ${reached}, not ${state}`);
  }
  const [{ mark }] = (await flows.rows<{ mark: string }>('select coalesce(max(sequence), 0) as mark from tasks')) as [{ mark: string }];
  const facts = async (): Promise<string> =>
    JSON.stringify(
      await flows.rows(
        'select state, external_plan_id, quantity, term_starts_at, term_ends_at, ends_at, ended_at from subscriptions where subscription_id = $1',
        [id],
      ),
    );
  const before = await facts();
  const inbound = one.message();
  const { inboxId } = await db.ops((tx) => p.inbox.receive(tx, { ...inbound, contentType: 'application/json', principal: 'a test' }));
  const task = { taskId: randomUUID(), lane: `subscription:${id}`, attempt: 1, completeIn: async () => undefined };
  // What may only be early comes again, until it is old enough to be judged.
  for (let tries = 0; ; tries += 1)
    try {
      await normaliseInbound(p, { inboxId, marketplace }, task);
      break;
    } catch (error) {
      if (!(error instanceof MarketplaceBusy) || tries > 0) throw error;
      flows.clock.advance(61_000);
    }

  const [row] = await flows.rows<{ state: string }>('select state from inbox where inbox_id = $1', [inboxId]);
  const made = await flows.rows<{ type: string }>(
    `select payload_ref ->> 'eventType' as type from tasks where sequence > $1 and handler = $2 order by sequence`,
    [mark, LISTENER],
  );
  const [decision] = await flows.rows<{ state: string }>('select state from change_requests where subscription_id = $1', [id]);
  const told = made.map((m) => m.type.replace('subscription.', ''));
  if (decision) told.push(`decision ${decision.state}`);
  if (row!.state === 'parked') return ['parked', ...told].join(' ');
  if (told.length === 0 && (await facts()) === before) return '=';
  const now = await flows.rows<{ state: SubscriptionState }>('select state from subscriptions where subscription_id = $1', [id]);
  return `${now[0]?.state ?? 'none'}${told.length > 0 ? `: ${told.join(' ')}` : ''}`;
}
