export * from './domain/principal.js';
export * from './domain/slug.js';
export * from './application/keys.js';
export * from './application/tenants.js';
