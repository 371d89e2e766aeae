import { type Check, type DoctorOptions, MarketplaceRefusal } from '#marketplaces/core';
import type { AuthHeader } from './access-token.js';
import { checker, LINK } from './check.js';
import { listingChecks } from './doctor-listing.js';
import type { MetricTypes } from './metric-types.js';
import type { Procurement } from './procurement.js';
import type { GcpSettings } from './settings.js';
import type { SigningKeys } from './signing-keys.js';
import { subscriptionChecks } from './subscription-checks.js';

export async function doctor(
  settings: GcpSettings,
  auth: AuthHeader,
  procurement: Procurement,
  keys: SigningKeys,
  types: MetricTypes,
  options: DoctorOptions = {},
): Promise<Check[]> {
  const check = checker(options.timeoutMs);
  const token = await check(
    'gcp.token',
    async () => {
      await auth();
      return settings.anonymous ? 'no credentials are needed here' : 'Google gives a token';
    },
    () => 'Set up application default credentials of the service account (GOOGLE_APPLICATION_CREDENTIALS or workload identity).',
  );
  const list: Check =
    token.result === 'pass'
      ? await check(
          'gcp.procurement',
          async () => {
            await procurement.firstPage();
            return 'the purchases can be listed';
          },
          (error) =>
            error instanceof MarketplaceRefusal
              ? `${LINK} GCP_PROVIDER_ID must be the provider's id.`
              : `Check that ${settings.procurementUrl} can be reached.`,
        )
      : { check: 'gcp.procurement', result: 'unknown', detail: 'not tried without a token', remedy: 'Mend gcp.token first.' };
  const signing = await check(
    'gcp.sign_up_keys',
    async () => {
      await keys.refresh();
      return `${keys.size} certificates for sign-up tokens`;
    },
    () => `Sign-ups cannot be verified: check that ${settings.signUpKeysUrl} can be reached.`,
  );
  const audiences: Check =
    settings.audiences.length > 0
      ? { check: 'gcp.audiences', result: 'pass', detail: `tokens for ${settings.audiences.join(', ')} are taken` }
      : {
          check: 'gcp.audiences',
          result: 'fail',
          detail: 'no audience is configured',
          remedy: 'Set GCP_AUDIENCES to the domain of the sign-up URL; a refused token logs the audience it named.',
        };
  return [
    token,
    list,
    signing,
    audiences,
    ...(await subscriptionChecks(settings, options.timeoutMs)),
    ...(await listingChecks(settings, procurement, types, options, list.result === 'pass')),
    {
      check: 'gcp.service_control',
      result: 'unknown',
      detail: `a report cannot be tried without reporting; the service is ${settings.serviceName}`,
      remedy:
        'Compare GCP_SERVICE_NAME and the metric names of the catalog with Producer Portal; the endpoint exists only after a draft of the pricing was submitted.',
    },
  ];
}
