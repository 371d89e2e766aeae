export * from './words.js';
export * from './adapter.js';
export * from './usage.js';
export * from './decimal.js';
export * from './doctor.js';
export * from './units.js';
export * from './plan-terms.js';
export * from './signed-token.js';
