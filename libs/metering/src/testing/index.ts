export * from './fixtures.js';
export { Harness, at, door } from './harness.js';
export { wholeMonth, type WholeMonth } from './whole-month.js';
