import type { FulfillmentEventKind, MarketplaceState } from '../index.js';

export const SECRET = 'fake-marketplace-secret';

export interface Message {
  id: string;
  subscriptionId: string;
  kind: string;
  at: string;
  changeId?: string;
}

const KINDS: readonly string[] = [
  'purchased',
  'activated',
  'renewed',
  'suspended',
  'reinstated',
  'ended',
  'end_scheduled',
  'end_reverted',
  'voided',
  'data_deletion_due',
  'buyer_ready',
] satisfies FulfillmentEventKind[];

export function isKnownKind(kind: string): kind is FulfillmentEventKind {
  return KINDS.includes(kind);
}

/** The message that tells of a state. */
export const KIND_OF: Record<MarketplaceState, FulfillmentEventKind> = {
  scheduled: 'purchased',
  pending_fulfillment: 'purchased',
  active: 'activated',
  suspended: 'suspended',
  ended: 'ended',
  voided: 'voided',
};

export function parseMessage(body: string): Message | null {
  try {
    const message = JSON.parse(body) as Partial<Message> | null;
    return message && typeof message.id === 'string' && typeof message.subscriptionId === 'string' && typeof message.kind === 'string'
      ? (message as Message)
      : null;
  } catch {
    return null;
  }
}
