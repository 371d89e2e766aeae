export { describeMarketplaceConformance } from './conformance.js';
export type { MarketplaceHarness, TestBilled, TestMessage, TestPurchase } from './harness.js';
export {
  FakeMarketplace,
  type FakeBilled,
  type FakeChange,
  type FakeFault,
  type FakeOperation,
  type FakePurchaseInput,
} from './fake-marketplace.js';
