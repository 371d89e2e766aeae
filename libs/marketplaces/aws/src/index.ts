export { createAwsAdapter, type AwsAdapter, type AwsAdapterDeps } from './aws-adapter.js';
export { awsSettingsSchema, EVENT_SOURCE, SECRET_HEADER, type AwsSettings, type AwsSettingsInput } from './settings.js';
export { AWS_PLAN, awsRefsSchema, type AwsRefs } from './refs.js';
export { TOKEN_FIELD } from './landing.js';
export { EVENTBRIDGE_SOURCE } from './inbound.js';
export { SNS_SOURCE } from './sns/verify.js';
export { awsHosts } from './hosts.js';
export { AWS_USAGE } from './usage-item.js';
