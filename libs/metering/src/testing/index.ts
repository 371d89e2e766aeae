export * from './fixtures.js';
export { Harness, at } from './harness.js';
