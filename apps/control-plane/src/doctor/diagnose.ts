import { ConfigError, loadConfig, type BerthConfig } from '#platform';
import { MARKETPLACES, type Marketplace } from '#marketplaces/core';
import { examine, type Report } from './examine.js';
import { WEBHOOK_SECRET_LENGTH } from './secret-checks.js';
import { withoutSecrets } from './without-secrets.js';

const NEEDED: Record<Marketplace, string> = {
  azure: 'AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET',
  gcp: 'GCP_PROVIDER_ID, GCP_PROJECT_ID, GCP_SUBSCRIPTION, GCP_SERVICE_NAME and GCP_AUDIENCES',
  aws: 'AWS_PRODUCT_CODES and AWS_WEBHOOK_SECRET',
};

/** The doctor leaves nothing behind, so no secret is made and kept; and a missing webhook secret is a finding, no reason to stop. */
function lenient(env: Record<string, string | undefined>): BerthConfig {
  const short = (env['AWS_WEBHOOK_SECRET'] ?? '').length < WEBHOOK_SECRET_LENGTH;
  return loadConfig({
    ...env,
    BERTH_SECRET: env['BERTH_SECRET'] || 'the doctor seals nothing',
    ...(env['AWS_PRODUCT_CODES'] && short ? { AWS_WEBHOOK_SECRET: 'x'.repeat(WEBHOOK_SECRET_LENGTH) } : {}),
  });
}

/**
 * Examines what is asked for (`azure`, `gcp`, `aws` or `all`) with these settings; `limit` in milliseconds for each check. One line of
 * JSON, `{"reports":[{marketplace, checks}],"skipped":[…]}`, that holds no secret. Throws `ConfigError` for a wrong question or setting.
 */
export async function diagnose(wanted: string, limit: number, env: Record<string, string | undefined>): Promise<string> {
  if (wanted !== 'all' && !(MARKETPLACES as readonly string[]).includes(wanted))
    throw new ConfigError(`there is no marketplace "${wanted}". Name one of ${MARKETPLACES.join(', ')} or all`);
  const config = lenient(env);
  const asked = wanted === 'all' ? MARKETPLACES : MARKETPLACES.filter((one) => one === wanted);
  const configured = asked.filter((one) => config[one] !== null);
  if (configured.length === 0)
    throw new ConfigError(
      wanted === 'all'
        ? 'no marketplace is configured. Set the variables of one (docs/guides/settings.md)'
        : `${wanted} is not configured. Set ${NEEDED[asked[0]!]} (docs/guides/${wanted}.md)`,
    );
  const reports: Report[] = await Promise.all(configured.map((one) => examine(one, config, env, limit)));
  const skipped = asked.filter((one) => !configured.includes(one));
  return withoutSecrets(JSON.stringify({ reports, skipped }), env, config);
}
