import type { Storage } from '../support/storage.js';

/** What a person buys, in words that fit every marketplace. */
export interface Order {
  /** How the story calls this purchase. */
  label: string;
  organisation: string;
  contactName: string;
  contactEmail: string;
  planId: string;
  /** A region that the landing page offers. */
  region: string;
}

/** One purchase through the whole story. */
export interface Purchase {
  readonly label: string;
  readonly order: Order;
  readonly marketplace: string;
  /** The marketplace's id of it. */
  readonly externalId: string;
  /** The landing visit of its buyer. */
  sessionId: string;
  /** Ours, once it is known. */
  subscriptionId: string;
  tenantId: string;
  /** The buyer's storage, once there is an endpoint. */
  storage: Storage;
  /** What lies in it: blob name and bytes. */
  readonly blobs: Map<string, number>;
}

export interface Bought {
  readonly externalId: string;
  /** The landing visit. */
  readonly sessionId: string;
  /** Signs in as whom the purchase was made for, where a marketplace names a person; answers the visit that is his. */
  readonly signIn?: (controlPlaneUrl: string) => Promise<string>;
}

/** A marketplace as its buyers use it. A module per marketplace; the chapters know only this. */
export interface Buyer {
  readonly marketplace: string;
  /** Dimensions that are reported for every hour of a purchase. */
  readonly everyHour: readonly string[];
  /** Buyers name their purchases here. */
  readonly namesPurchases: boolean;
  /** Egress that the plan includes and we subtract; 0 where the marketplace does it. */
  readonly freeEgressMiB: bigint;
  /** It tells what it has accepted. */
  readonly readsBack: boolean;
  /** What the control plane must be told to sell here. */
  environment(): Promise<Record<string, string>>;
  /** Tells the marketplace where the control plane is. */
  connect(controlPlaneUrl: string): Promise<void>;
  /** Buys, and follows the marketplace's way to our landing page. */
  buy(order: Order): Promise<Bought>;
  changePlan(externalId: string, planId: string): Promise<void>;
  cancel(externalId: string): Promise<void>;
  /** The operation of `/sandbox/calls` by which usage is reported. */
  readonly usageOperation: string;
  /** Which records a reporting call carries: `external id|dimension|hour`. */
  usageKeys(requestBody: unknown): string[];
  /** Changes one billed quantity behind everybody's back. */
  adjustBilled(change: { externalId: string; dimension: string; hour: string; by: string }): Promise<void>;
}
