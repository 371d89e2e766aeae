import {
  BatchMeterUsageCommand,
  type BatchMeterUsageCommandOutput,
  type MarketplaceMeteringClient,
  ResolveCustomerCommand,
  type ResolveCustomerCommandOutput,
  type UsageRecord,
} from '@aws-sdk/client-marketplace-metering';
import { HttpTransportError, type Logger } from '#platform';
import type { AwsClients } from './clients.js';
import { fieldsOf, textOf } from './liberal.js';
import type { AwsSettings } from './settings.js';

/** What went wrong, sorted by what it means for the effect of the call. */
export interface Failure {
  sort:
    /** Nothing happened; later may be better. */
    | 'busy'
    /** Nothing happened; our key, permission or region is at fault, not what was sent. */
    | 'us'
    /** Nothing happened; what was sent is at fault. */
    | 'refused'
    /** The effect is not known. */
    | 'unknown';
  /** AWS's own name of the error, for example `TimestampOutOfBoundsException`. */
  name: string;
  message: string;
}

const THROTTLED = new Set([
  'ThrottlingException',
  'Throttling',
  'ThrottledException',
  'TooManyRequestsException',
  'RequestLimitExceeded',
  'SlowDown',
]);
const OURS = new Set([
  'AccessDeniedException',
  'AccessDenied',
  'UnrecognizedClientException',
  'InvalidSignatureException',
  'SignatureDoesNotMatch',
  'IncompleteSignatureException',
  'MissingAuthenticationTokenException',
  'InvalidClientTokenId',
  'RequestExpired',
  'RequestTimeTooSkewed',
  'OptInRequired',
  'NotAuthorized',
  'DisabledApiException',
  'UnknownOperationException',
  'CredentialsProviderError',
  // AWS's word for credentials of a session that have expired, often as a 400; ResolveCustomer has the same for a token.
  'ExpiredTokenException',
  'ExpiredToken',
]);
/** The connection never stood, so nothing was sent. */
const NEVER_SENT = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH']);

/** Sorts whatever the SDK throws: modelled errors, others of AWS, and what is no error of AWS at all (contract aws §6). */
export function failureOf(error: unknown): Failure {
  const fields = fieldsOf(error);
  const name = textOf(fields['name']) ?? 'Error';
  const message = (error instanceof Error ? error.message : String(error)).slice(0, 500);
  const status = fieldsOf(fields['$metadata'])['httpStatusCode'];
  const failed = (sort: Failure['sort']): Failure => ({ sort, name, message });
  if (THROTTLED.has(name) || status === 429) return failed('busy');
  if (OURS.has(name) || status === 401 || status === 403) return failed('us');
  // A host off our own list: no later attempt is better, only other settings.
  if (fields['code'] === 'http.not_allowed') return { ...failed('us'), name: 'HostNotAllowed' };
  if ((error instanceof HttpTransportError && !error.sent) || NEVER_SENT.has(textOf(fields['code']) ?? '')) return failed('busy');
  // A 4xx is an answer only with a name of AWS's; a proxy's page says nothing about the effect.
  if (fields['$fault'] === 'client' && typeof status === 'number' && status >= 400 && status < 500) return failed('refused');
  return failed('unknown');
}

/**
 * Whether ResolveCustomer says that the buyer's token has expired. Of our own session's credentials AWS says it by the same name,
 * as "the security token included in the request", or with a 403, which this service's own errors never have.
 */
export function isRegistrationExpired(error: unknown): boolean {
  const { name, message } = failureOf(error);
  const status = fieldsOf(fieldsOf(error)['$metadata'])['httpStatusCode'];
  return name === 'ExpiredTokenException' && !/security token/i.test(message) && status !== 401 && status !== 403;
}

/** `TimestampOutOfBoundsException` is `aws.timestamp_out_of_bounds`. */
export const codeOf = (name: string): string =>
  `aws.${name
    .replace(/Exception$/, '')
    .replace(/(?<=[a-z0-9])(?=[A-Z])/g, '_')
    .toLowerCase()}`;

/** The two calls of the metering service. One attempt each: the queue repeats, with its own intent and outcome. */
export class AwsApi {
  private readonly client: MarketplaceMeteringClient;

  constructor(
    private readonly settings: AwsSettings,
    clients: AwsClients,
    private readonly logger?: Logger,
  ) {
    this.client = clients.metering();
  }

  resolveCustomer(token: string): Promise<ResolveCustomerCommandOutput> {
    return this.timed('resolveCustomer', this.settings.timeoutsMs.resolve, (abortSignal) =>
      this.client.send(new ResolveCustomerCommand({ RegistrationToken: token }), { abortSignal }),
    );
  }

  /** With a ProductCode for records of a legacy listing alone: sending both keys bills twice (contract aws §0.3). */
  batchMeterUsage(records: UsageRecord[], productCode?: string): Promise<BatchMeterUsageCommandOutput> {
    return this.timed('batchMeterUsage', this.settings.timeoutsMs.usage, (abortSignal) =>
      this.client.send(
        new BatchMeterUsageCommand({ UsageRecords: records, ...(productCode === undefined ? {} : { ProductCode: productCode }) }),
        { abortSignal },
      ),
    );
  }

  /** Throws where the chain finds no credentials. */
  async checkCredentials(): Promise<void> {
    await this.client.config.credentials();
  }

  private timed<T>(operation: string, timeoutMs: number, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return timed(this.logger, operation, timeoutMs, call);
  }
}

/** One call with its time limit (real milliseconds) and a line in the log. */
export async function timed<T>(
  logger: Logger | undefined,
  operation: string,
  timeoutMs: number,
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const started = performance.now();
  const log = (more: Record<string, unknown>): void =>
    logger?.info({ marketplace: 'aws', operation, ms: Math.round(performance.now() - started), ...more }, 'aws call');
  try {
    const answer = await call(AbortSignal.timeout(timeoutMs));
    log({ result: 'ok' });
    return answer;
  } catch (error) {
    const { sort, name } = failureOf(error);
    log({ result: sort, error: name });
    throw error;
  }
}
