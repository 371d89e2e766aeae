import { type Check, type DoctorOptions, MarketplaceRefusal, timeLimited } from '#marketplaces/core';
import { errorText } from '#platform';
import { type AuthHeader, pubSubOf } from './access-token.js';
import { listingChecks } from './doctor-listing.js';
import { fieldsOf } from './liberal.js';
import type { Procurement } from './procurement.js';
import { subscriptionName } from './pull.js';
import { type GcpSettings, TIMEOUTS_MS } from './settings.js';
import type { SigningKeys } from './signing-keys.js';

const LINK = 'A right in IAM is not enough: link the service account in Producer Portal for Procurement, Pub/Sub and Service Control.';

export async function doctor(
  settings: GcpSettings,
  auth: AuthHeader,
  procurement: Procurement,
  keys: SigningKeys,
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
    await pubSub(settings, check),
    ...(await listingChecks(settings, procurement, options, list.result === 'pass')),
    {
      check: 'gcp.service_control',
      result: 'unknown',
      detail: `a report cannot be tried without reporting; the service is ${settings.serviceName}`,
      remedy:
        'Compare GCP_SERVICE_NAME and the metric names of the catalog with Producer Portal; the endpoint exists only after a draft of the pricing was submitted.',
    },
  ];
}

async function pubSub(settings: GcpSettings, check: ReturnType<typeof checker>): Promise<Check> {
  const name = subscriptionName(settings.subscription);
  let expires: string | null = null;
  const found = await check(
    'gcp.pubsub',
    async () => {
      const client = pubSubOf(settings);
      try {
        const [metadata] = await client.subscription(name).getMetadata({ timeout: TIMEOUTS_MS.pubsub, maxRetries: 0 });
        const seconds = Number(fieldsOf(fieldsOf(fieldsOf(metadata)['expirationPolicy'])['ttl'])['seconds'] ?? 0);
        if (seconds > 0) expires = `${Math.round(seconds / 86_400)} days`;
        return `the subscription ${name} is there`;
      } finally {
        await client.close();
      }
    },
    () =>
      `Create ${name} in ${settings.projectId} on the topic projects/cloudcommerceproc-prod/topics/${settings.providerId} as the linked service account. ${LINK}`,
  );
  if (found.result !== 'pass' || expires === null) return found;
  return {
    ...found,
    result: 'warn',
    detail: `an idle ${name} is deleted after ${String(expires)}`,
    remedy: 'Set its expiration policy to never.',
  };
}

const checker =
  (timeoutMs: number | undefined) =>
  async (name: string, work: () => Promise<string>, remedy: (error: unknown) => string): Promise<Check> => {
    try {
      return { check: name, result: 'pass', detail: await timeLimited(work, timeoutMs) };
    } catch (error) {
      return { check: name, result: 'fail', detail: errorText(error), remedy: remedy(error) };
    }
  };
