export { createAzureAdapter, type AzureAdapter, type AzureAdapterDeps } from './azure-adapter.js';
export { EntraSignIn, type SignedInPerson, type SignInSecrets } from './sign-in.js';
export { azureSettingsSchema, MARKETPLACE_APP_ID, type AzureSettings, type AzureSettingsInput } from './settings.js';
export { azureRefsSchema, type AzureRefs } from './truth.js';
export { AZURE_USAGE } from './usage-item.js';
