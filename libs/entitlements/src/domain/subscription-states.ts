import type { MarketplaceState, SubscriptionState } from '#marketplaces/core';

/** Everything that can move a subscription (architecture §8). */
export type SubscriptionAction = 'activate' | 'schedule' | 'start' | 'suspend' | 'reinstate' | 'end' | 'settle' | 'void';

/** `suspended_source` of a purchase in force whose buyer may not be served; the marketplace's own suspension is `marketplace`. */
export const SERVICE_CHECK = 'service_check';

/** The state table. A pair that is not here is refused, never guessed. */
export const TRANSITIONS = {
  scheduled: { schedule: 'scheduled', start: 'pending_fulfillment', activate: 'active', void: 'voided', end: 'cancelled' },
  pending_fulfillment: { activate: 'active', schedule: 'scheduled', void: 'voided', end: 'voided' },
  active: { suspend: 'suspended', end: 'closing' },
  suspended: { reinstate: 'active', end: 'closing' },
  closing: { settle: 'cancelled' },
  cancelled: {},
  voided: {},
} as const satisfies Record<SubscriptionState, Partial<Record<SubscriptionAction, SubscriptionState>>>;

export function nextState(state: SubscriptionState, action: SubscriptionAction): SubscriptionState | null {
  return (TRANSITIONS[state] as Partial<Record<SubscriptionAction, SubscriptionState>>)[action] ?? null;
}

/** Access has ended for good; only settling may be left. */
export const isOver = (state: SubscriptionState): boolean => state === 'closing' || isTerminal(state);

export const isTerminal = (state: SubscriptionState): boolean => Object.keys(TRANSITIONS[state]).length === 0;

/**
 * The next action on the way from our state to what the marketplace says now; null when both agree already or when nothing may be
 * done (a cancelled purchase never comes back: a new purchase has a new id). Taken again and again it ends at null.
 */
export function actionTowards(state: SubscriptionState, truth: MarketplaceState): SubscriptionAction | null {
  switch (truth) {
    case 'scheduled':
      return state === 'pending_fulfillment' ? 'schedule' : null;
    case 'pending_fulfillment':
      // The day has come; what waited for it begins.
      return state === 'scheduled' ? 'start' : null;
    case 'active':
      return state === 'pending_fulfillment' || state === 'scheduled' ? 'activate' : state === 'suspended' ? 'reinstate' : null;
    case 'suspended':
      // Suspended there means activated before, even if the news of that never came.
      return state === 'pending_fulfillment' || state === 'scheduled' ? 'activate' : state === 'active' ? 'suspend' : null;
    case 'ended':
      return isOver(state) ? null : 'end';
    case 'voided':
      return state === 'pending_fulfillment' || state === 'scheduled' ? 'void' : state === 'active' || state === 'suspended' ? 'end' : null;
  }
}

/** The event that tells of an action. */
export const EVENT_OF: Record<SubscriptionAction, string> = {
  activate: 'subscription.activated',
  schedule: 'subscription.scheduled',
  start: 'subscription.started',
  suspend: 'subscription.suspended',
  reinstate: 'subscription.reinstated',
  end: 'subscription.ended',
  settle: 'subscription.cancelled',
  void: 'subscription.voided',
};
