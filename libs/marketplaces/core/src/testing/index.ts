export { describeMarketplaceConformance } from './conformance.js';
export type { MarketplaceHarness, TestBilled, TestMessage, TestPurchase } from './harness.js';
export { FakeMarketplace } from './fake-marketplace.js';
export type { FakeBilled, FakeChange, FakeFault, FakeOperation, FakePurchaseInput } from './fake-words.js';
