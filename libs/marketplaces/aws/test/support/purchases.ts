import type { FulfillmentEvent, MarketplaceAdapter, SubscriptionTruth } from '#marketplaces/core';

type Merging = Required<Pick<MarketplaceAdapter, 'mergeTruth' | 'acknowledge'>>;

/** What the app keeps of purchases, in memory: truths, aliases, and messages parked until their alias is known. */
export class Purchases {
  readonly truths = new Map<string, SubscriptionTruth>();
  readonly aliases = new Map<string, string>();
  readonly applied: FulfillmentEvent[] = [];
  private parked: FulfillmentEvent[] = [];

  constructor(private readonly adapter: Merging) {}

  apply(told: FulfillmentEvent): FulfillmentEvent | null {
    const externalSubscriptionId = told.externalSubscriptionId || (this.aliases.get(told.alias?.externalId ?? '') ?? '');
    if (!externalSubscriptionId) {
      this.parked.push(told);
      return null;
    }
    const event = this.adapter.mergeTruth(this.stored(externalSubscriptionId), { ...told, externalSubscriptionId });
    this.applied.push(event);
    if (!event.truth) return event;
    this.truths.set(externalSubscriptionId, event.truth);
    for (const { externalId } of event.truth.aliases) this.aliases.set(externalId, externalSubscriptionId);
    const again = this.parked;
    this.parked = [];
    for (const one of again) this.apply(one);
    return event;
  }

  /** The tenant serves: as the app does it, with the truth read from what is stored. */
  async serve(externalSubscriptionId: string): Promise<void> {
    const truth = this.truths.get(externalSubscriptionId);
    if (!truth) return;
    const refs = (await this.adapter.acknowledge(truth, { tenantId: 't' })) ?? truth.refs;
    this.apply({
      kind: 'activated',
      marketplace: 'aws',
      externalSubscriptionId,
      occurredAt: truth.observedAt,
      truth: { ...truth, refs },
      note: 'serves',
    });
  }

  /** As it comes back from the database: instants that went through JSON. */
  private stored(externalSubscriptionId: string): SubscriptionTruth | null {
    const truth = this.truths.get(externalSubscriptionId);
    if (!truth) return null;
    const raw = JSON.parse(JSON.stringify(truth)) as SubscriptionTruth;
    const at = (d: Date | null): Date | null => (d === null ? null : new Date(d));
    return {
      ...raw,
      term: { ...raw.term, startsAt: at(raw.term.startsAt), endsAt: at(raw.term.endsAt) },
      endsAt: at(raw.endsAt),
      observedAt: new Date(raw.observedAt),
    };
  }
}
