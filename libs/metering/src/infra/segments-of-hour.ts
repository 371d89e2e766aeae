import { groupBy, type Tx } from '#platform';
import {
  readListingEmissions,
  readPlanVersions,
  readSegments,
  type ListingEmission,
  type MeterTerms,
  type PlanVersion,
  type Segment,
} from '#entitlements';
import type { HourSegment } from '../domain/types.js';
import { fromUs, toUs, toUsOrNull, US_PER_HOUR } from '../domain/units.js';

/** Segments and plan versions of many subscriptions, read once per transaction. */
export class SegmentsOfHour {
  private constructor(
    private readonly bySubscription: Map<string, Segment[]>,
    private readonly plans: Map<string, PlanVersion>,
    private readonly listings: Map<string, ListingEmission[]>,
  ) {}

  /** All segments up to `hour`'s end: few per subscription, and old ones may still have something open. */
  static async load(tx: Tx, subscriptionIds: string[], hour: bigint): Promise<SegmentsOfHour> {
    const segments = await readSegments(tx, {
      subscriptionIds: [...new Set(subscriptionIds)],
      from: new Date(0),
      to: fromUs(hour + US_PER_HOUR),
    });
    const plans = await readPlanVersions(
      tx,
      segments.map((s) => s.planVersionId),
    );
    const listings = groupBy(await readListingEmissions(tx), listingOf);
    return new SegmentsOfHour(
      groupBy(segments, (s) => s.subscriptionId),
      plans,
      listings,
    );
  }

  /** Those that overlap the hour, and those named in `also`. */
  of(subscriptionId: string, meter: string, hour: bigint, also: Iterable<string> = []): HourSegment[] {
    const wanted = new Set(also);
    const from = fromUs(hour);
    const to = fromUs(hour + US_PER_HOUR);
    return (this.bySubscription.get(subscriptionId) ?? [])
      .filter((s) => wanted.has(s.segmentId) || (s.startsAt < to && (s.endsAt === null || s.endsAt > from)))
      .map((s) => {
        const plan = this.plans.get(s.planVersionId);
        if (!plan) throw new Error(`plan version ${s.planVersionId} is not in the catalog`);
        return {
          segmentId: s.segmentId,
          startsAt: toUs(s.startsAt),
          endsAt: toUsOrNull(s.endsAt),
          planVersionId: s.planVersionId,
          externalPlanId: s.externalPlanId,
          billable: s.billable,
          termStartsAt: toUsOrNull(s.termStartsAt),
          termEndsAt: toUsOrNull(s.termEndsAt),
          ...this.termsOf(plan, meter),
        };
      });
  }

  /** The pinned terms, and over their emission that of the listing, which is no part of what was pinned. */
  private termsOf(plan: PlanVersion, meter: string): Pick<HourSegment, 'terms' | 'emissions'> {
    const terms: MeterTerms | null = plan.meters.find((m) => m.meter === meter) ?? null;
    const changes = this.listings.get(listingOf(plan));
    if (!terms || !changes) return { terms };
    return {
      terms,
      emissions: changes.map((c) => ({ from: toUs(c.from), emission: c.emission === 'live' ? terms.emission : c.emission })),
    };
  }

  /** Some plan in force splits a meter by labels; where none does, nobody looks for any. */
  splitsCosts(): boolean {
    return [...this.plans.values()].some((p) => p.meters.some((m) => m.costSplit));
  }

  offerOf(planVersionId: string): string | null {
    return this.plans.get(planVersionId)?.externalOfferId ?? null;
  }

  /** As they were read. */
  read(subscriptionId: string): readonly Segment[] {
    return this.bySubscription.get(subscriptionId) ?? [];
  }

  find(subscriptionId: string, segmentId: string): Segment | null {
    return this.bySubscription.get(subscriptionId)?.find((s) => s.segmentId === segmentId) ?? null;
  }

  /** The largest capacity the subscription was entitled to so far: after a downgrade more than the new limit may still be stored. */
  capacity(subscriptionId: string): bigint | null {
    let most: bigint | null = null;
    for (const s of this.bySubscription.get(subscriptionId) ?? []) {
      const quota = this.plans.get(s.planVersionId)?.quotas.find((q) => q.name === 'storage_bytes');
      if (!quota) return null;
      const limit = BigInt(quota.hardLimit) * (quota.per === 'unit' ? BigInt(s.quantity ?? 1) : 1n);
      if (most === null || limit > most) most = limit;
    }
    return most;
  }
}

const listingOf = (l: { marketplace: string; externalOfferId: string }): string => `${l.marketplace}/${l.externalOfferId}`;
