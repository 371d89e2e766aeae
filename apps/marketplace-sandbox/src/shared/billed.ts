/** What a marketplace has accepted and will put on the buyer's bill. */
export interface BilledItem {
  marketplace: string;
  externalId: string;
  planId: string;
  dimension: string;
  /** Start of the UTC hour. */
  hour: string;
  /** Exactly the digits that were received. */
  quantity: string;
  receipt: string;
  acceptedAt: string;
}

/** Each marketplace keeps its own accepted usage; this reads them all. */
export class BilledList {
  private readonly sources: (() => BilledItem[])[] = [];

  addSource(source: () => BilledItem[]): void {
    this.sources.push(source);
  }

  list(filter: { marketplace?: string; externalId?: string }): BilledItem[] {
    return this.sources
      .flatMap((source) => source())
      .filter((item) => filter.marketplace === undefined || item.marketplace === filter.marketplace)
      .filter((item) => filter.externalId === undefined || item.externalId === filter.externalId)
      .sort((a, b) => compare(sortKey(a), sortKey(b)));
  }
}

function sortKey(item: BilledItem): string {
  return [item.marketplace, item.externalId, item.hour, item.dimension, item.planId].join('|');
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
