export * from './domain/plan-version.js';
export * from './domain/segment.js';
export * from './domain/subscription-states.js';
export * from './application/catalog.js';
export { readListingEmissions, readListingsNow, type ListingEmission, type ListingNow } from './application/emissions.js';
export * from './application/subscriptions.js';
export { isFollowed, meetAt, type TakeOver } from './application/succession.js';
export { eraseBuyer, erasePurchase, pseudonymOf } from './application/deletions.js';
export { holdService, releaseService } from './application/service-holds.js';
export * from './application/changes.js';
export { dropRequests } from './application/change-requests.js';
export * from './application/landings.js';
export * from './application/claims.js';
export * from './domain/claim.js';
export * from './application/rights.js';
export * from './application/read-models.js';
export { SubscriptionRecord } from './infra/subscription.record.js';
export {
  readSegments,
  readPlanVersions,
  readMeters,
  readMeteredMarks,
  readMeteredSubscriptions,
  type MeteredSubscription,
} from './infra/segments.sql.js';
export * from './domain/drift.js';
export * from './application/drift-runs.js';
export * from './application/prune-drift-runs.js';
export * from './application/publisher-changes.js';
export * from './application/notices.js';
export * from './application/purchase-joins.js';
