import type { Clock } from '#platform';
import type { InboundRequest, MarketplaceAdapter, MarketplaceRefs, StoredInbound } from '../index.js';

export interface TestPurchase {
  externalSubscriptionId: string;
  externalPlanId: string;
  /** Two dimensions of the plan that may be metered. */
  dimensions: [string, string];
  refs: MarketplaceRefs;
  /** What the buyer brings to the landing page; null where there is none. */
  landing: Record<string, string> | null;
}

/** A message of the marketplace: `request` where it is pushed, `stored` as the inbox gives it back. */
export interface TestMessage {
  request: InboundRequest | null;
  stored: StoredInbound;
}

export interface TestBilled {
  dimension: string;
  quantity: string;
  /** Null where the marketplace does not tell. */ hourStart: Date | null;
}

/** `dropped`: none comes. Else a 200 with half a body, a proxy's page, nothing, or a line that breaks in the middle. */
export const LOST_ANSWERS = ['dropped', 'truncated', 'html', 'empty', 'cut'] as const;
export type LostAnswer = (typeof LOST_ANSWERS)[number];

/** What an adapter brings to be judged: the adapter, and the other side of the counter. */
export interface MarketplaceHarness {
  readonly adapter: MarketplaceAdapter;
  /** The business clock both sides go by. */
  readonly clock: Clock;
  /** A purchase that still waits for us, where the marketplace waits. */
  purchase(): Promise<TestPurchase>;
  /** The n-th closed hour (1 is the youngest) that usage of the purchase may still be sent for. */
  closedHour(purchase: TestPurchase, n: number): Date;
  /** How many of them there are; at least 5. */
  readonly closedHours: number;
  /** Ends the purchase there; the message that tells of it. */
  end(purchase: TestPurchase): Promise<TestMessage>;
  /** A genuine message with an action that nobody knows yet. */
  unknownMessage(purchase: TestPurchase): Promise<TestMessage>;
  /** Messages that somebody else made; absent where messages are only pulled. */
  forgeries?(purchase: TestPurchase): Promise<{ what: string; request: InboundRequest }[]>;
  /** The buyer asks for another plan; absent where changes do not wait for us. */
  requestPlan?(purchase: TestPurchase): Promise<{ message: TestMessage; toExternalPlanId: string }>;
  /** Everything the marketplace will bill for the purchase. */
  billed(purchase: TestPurchase): Promise<TestBilled[]>;
  /** The next usage call has its effect, but its answer is lost: never sent, or of no use. */
  loseUsageAnswer(how: LostAnswer): Promise<void>;
  /** The next usage call is throttled and has no effect. */
  throttleUsage(): Promise<void>;
  /** False where another quantity under a known key goes unnoticed there. */
  readonly detectsConflicts: boolean;
  dispose(): Promise<void>;
}
