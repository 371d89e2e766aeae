export { createGcpAdapter, type GcpAdapter, type GcpAdapterDeps } from './gcp-adapter.js';
export { SIGN_UP_ISSUER, type GcpSettings } from './settings.js';
export { TOKEN_FIELD } from './landing.js';
export { gcpRefsSchema, type GcpRefs } from './truth.js';
export { gcpUsage } from './usage-item.js';
