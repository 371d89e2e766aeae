export * from './fixtures.js';
export { Harness, at, door } from './harness.js';
