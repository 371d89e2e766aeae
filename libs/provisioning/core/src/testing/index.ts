/** Second door of provisioning/core, for tests only. */
export { aPlacement, describeDriverConformance } from './conformance.js';
export type { ConformanceHarness } from './conformance.js';
export { FakeDriver } from './fake-driver.js';
export { aCall, outputOf, untilDone } from './until-done.js';
