import { describe, expect, it } from 'vitest';
import type { MarketplaceState, SubscriptionState } from '#marketplaces/core';
import { actionTowards, isOver, isTerminal, nextState, TRANSITIONS, type SubscriptionAction } from './subscription-states.js';

const STATES = Object.keys(TRANSITIONS) as SubscriptionState[];
const ACTIONS: SubscriptionAction[] = ['activate', 'schedule', 'start', 'suspend', 'reinstate', 'end', 'settle', 'void'];

/** Where repeated steps towards a truth lead, with the actions taken on the way. */
function follow(state: SubscriptionState, truth: MarketplaceState): { state: SubscriptionState; actions: SubscriptionAction[] } {
  const actions: SubscriptionAction[] = [];
  for (let action = actionTowards(state, truth); action; action = actionTowards(state, truth)) {
    const to = nextState(state, action);
    if (!to || actions.length > 5) throw new Error(`${state} does not arrive at ${truth}: ${actions.join(', ')}`);
    actions.push(action);
    state = to;
  }
  return { state, actions };
}

describe('the state table of subscriptions', () => {
  it('lets every state be reached from a new purchase', () => {
    const reached = new Set<SubscriptionState>(['pending_fulfillment']);
    for (const state of reached)
      for (const action of ACTIONS) {
        const to = nextState(state, action);
        if (to) reached.add(to);
      }
    expect([...reached].sort()).toEqual([...STATES].sort());
  });

  it('is exactly this', () => {
    const table = STATES.flatMap((state) => ACTIONS.map((action) => [state, action, nextState(state, action)] as const)).filter(
      ([, , to]) => to,
    );
    expect(table.map(([from, action, to]) => `${from} -${action}-> ${to}`)).toEqual([
      'scheduled -activate-> active',
      'scheduled -schedule-> scheduled',
      'scheduled -start-> pending_fulfillment',
      'scheduled -end-> cancelled',
      'scheduled -void-> voided',
      'pending_fulfillment -activate-> active',
      'pending_fulfillment -schedule-> scheduled',
      'pending_fulfillment -end-> voided',
      'pending_fulfillment -void-> voided',
      'active -suspend-> suspended',
      'active -end-> closing',
      'suspended -reinstate-> active',
      'suspended -end-> closing',
      'closing -settle-> cancelled',
    ]);
  });

  it('has two terminal states, and a third in which only settling is left', () => {
    expect(STATES.filter(isTerminal)).toEqual(['cancelled', 'voided']);
    expect(STATES.filter(isOver)).toEqual(['closing', 'cancelled', 'voided']);
  });

  const ARRIVES: Record<SubscriptionState, Record<MarketplaceState, string>> = {
    scheduled: {
      scheduled: 'scheduled',
      pending_fulfillment: 'pending_fulfillment by start',
      active: 'active by activate',
      suspended: 'suspended by activate, suspend',
      ended: 'cancelled by end',
      voided: 'voided by void',
    },
    pending_fulfillment: {
      scheduled: 'scheduled by schedule',
      pending_fulfillment: 'pending_fulfillment',
      active: 'active by activate',
      suspended: 'suspended by activate, suspend',
      ended: 'voided by end',
      voided: 'voided by void',
    },
    active: {
      scheduled: 'active',
      pending_fulfillment: 'active',
      active: 'active',
      suspended: 'suspended by suspend',
      ended: 'closing by end',
      voided: 'closing by end',
    },
    suspended: {
      scheduled: 'suspended',
      pending_fulfillment: 'suspended',
      active: 'active by reinstate',
      suspended: 'suspended',
      ended: 'closing by end',
      voided: 'closing by end',
    },
    closing: {
      scheduled: 'closing',
      pending_fulfillment: 'closing',
      active: 'closing',
      suspended: 'closing',
      ended: 'closing',
      voided: 'closing',
    },
    cancelled: {
      scheduled: 'cancelled',
      pending_fulfillment: 'cancelled',
      active: 'cancelled',
      suspended: 'cancelled',
      ended: 'cancelled',
      voided: 'cancelled',
    },
    voided: {
      scheduled: 'voided',
      pending_fulfillment: 'voided',
      active: 'voided',
      suspended: 'voided',
      ended: 'voided',
      voided: 'voided',
    },
  };

  for (const [state, row] of Object.entries(ARRIVES) as [SubscriptionState, Record<MarketplaceState, string>][]) {
    for (const [truth, expected] of Object.entries(row) as [MarketplaceState, string][]) {
      it(`leads from ${state}, when the marketplace says ${truth}, to ${expected}`, () => {
        const arrived = follow(state, truth);
        expect(`${arrived.state}${arrived.actions.length ? ` by ${arrived.actions.join(', ')}` : ''}`).toBe(expected);
      });
    }
  }
});
