import { type Check, type DoctorOptions, timeLimited } from '#marketplaces/core';
import { errorText } from '#platform';
import { type AwsApi, failureOf } from './api.js';
import { type ChannelDeps, channelChecks } from './doctor-channels.js';
import { listingChecks } from './doctor-listing.js';
import type { AwsSettings } from './settings.js';

const REMEDIES: Record<string, string> = {
  AccessDeniedException:
    'Allow aws-marketplace:ResolveCustomer and aws-marketplace:BatchMeterUsage on * to the role of this process, in the account that published the product.',
  UnrecognizedClientException: 'AWS does not know the access key: give the process credentials of the account that published the product.',
  InvalidSignatureException: 'The secret does not belong to the access key, or the clock of this machine is wrong.',
  ExpiredTokenException: 'The credentials of this process have run out: give it ones that are renewed (a role), not a copied session.',
  DisabledApiException: 'Set AWS_METERING_REGION to a region in which AWS Marketplace meters, the one of the listing.',
};

/** Nothing is bought or metered by these: no records, and a token nobody issued. */
export async function doctor(settings: AwsSettings, api: AwsApi, options: DoctorOptions, channels: ChannelDeps): Promise<Check[]> {
  const within = <T>(work: () => Promise<T>): Promise<T> => timeLimited(work, options.timeoutMs);
  const remedyOf = (error: unknown): string =>
    REMEDIES[failureOf(error).name] ??
    `Check that ${settings.endpoint ?? `the metering service of ${settings.region}`} can be reached from here.`;
  const checks: Check[] = [];
  try {
    await within(() => api.checkCredentials());
    checks.push({
      check: 'aws.credentials',
      result: 'pass',
      detail: settings.role ? `the role ${settings.role.arn} is ours to take` : 'there are credentials',
    });
  } catch (error) {
    const remedy = settings.role
      ? `In the account that published the product, let ${settings.role.arn} trust this process${settings.role.externalId ? ' with the external id of AWS_SELLER_EXTERNAL_ID' : ''}, and allow this process sts:AssumeRole on it.`
      : 'Give the process credentials of the account that published the product: a role, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.';
    const untried = { result: 'unknown' as const, detail: 'not tried without credentials', remedy: 'Mend aws.credentials first.' };
    return [
      { check: 'aws.credentials', result: 'fail', detail: errorText(error), remedy },
      { check: 'aws.metering', ...untried },
      { check: 'aws.resolve', ...untried },
      eventsCheck(settings),
      ...listingChecks(settings, options),
    ];
  }
  try {
    await within(() => api.batchMeterUsage([]));
    checks.push({ check: 'aws.metering', result: 'pass', detail: `usage can be sent to ${settings.region}` });
  } catch (error) {
    const { name, sort } = failureOf(error);
    // Reached, known and allowed; only the empty request is not to its liking.
    if (sort === 'refused')
      checks.push({
        check: 'aws.metering',
        result: 'pass',
        detail: `the metering service of ${settings.region} answers (${name} to a request without records)`,
      });
    else
      checks.push({
        check: 'aws.metering',
        result: sort === 'busy' ? 'unknown' : 'fail',
        detail: errorText(error),
        remedy: remedyOf(error),
      });
  }
  try {
    await within(() => api.resolveCustomer('a-token-that-nobody-issued'));
    checks.push({
      check: 'aws.resolve',
      result: 'warn',
      detail: 'a token that nobody issued was resolved',
      remedy: 'The endpoint is not AWS Marketplace: check AWS_METERING_ENDPOINT.',
    });
  } catch (error) {
    const { sort } = failureOf(error);
    if (sort === 'refused') checks.push({ check: 'aws.resolve', result: 'pass', detail: 'tokens of buyers can be resolved' });
    else
      checks.push({
        check: 'aws.resolve',
        result: sort === 'busy' ? 'unknown' : 'fail',
        detail: errorText(error),
        remedy: remedyOf(error),
      });
  }
  return [...checks, ...(await channelChecks(settings, channels, within)), eventsCheck(settings), ...listingChecks(settings, options)];
}

const eventsCheck = ({ queues }: AwsSettings): Check => ({
  check: 'aws.events',
  result: 'unknown',
  detail: 'whether EventBridge sends to us cannot be seen from here',
  remedy: `In us-east-1 of the publishing account: a rule for source aws.agreement-marketplace with ${
    queues.length > 0 ? 'our queue as target' : 'our webhook as API destination, its connection with the header x-berth-webhook-secret'
  }, and a dead-letter queue.`,
});
