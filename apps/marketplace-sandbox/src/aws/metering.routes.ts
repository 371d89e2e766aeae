import type { FastifyInstance, FastifyRequest } from 'fastify';
import { parseExact, stringifyExact } from '../shared/exact-json.js';
import type { AwsContext } from './context.js';
import { AwsError } from './errors.js';
import type { Lifecycle } from './lifecycle.js';
import { batchMeterUsage } from './metering.js';
import { RateLimit } from './rate-limit.js';
import { resolveCustomer } from './resolve-customer.js';
import { isObject } from './shape.js';
import { type Sessions, verifySignature } from './sigv4.js';

export const CONTENT_TYPE = 'application/x-amz-json-1.1';
/** "< 1 MB", read the narrow way. */
const BODY_LIMIT = 1_000_000;
const PARSER_LIMIT = 16_000_000;
const TARGET = /^AWSMPMeteringService\.([A-Za-z]+)$/;

/** The name of the operation in /sandbox/calls and faults. */
export function operationOf(request: FastifyRequest): string {
  const name = targetOf(request);
  return name ? `${name.charAt(0).toLowerCase()}${name.slice(1)}` : 'unknown';
}

function targetOf(request: FastifyRequest): string | undefined {
  const header = request.headers['x-amz-target'];
  return typeof header === 'string' ? TARGET.exec(header)?.[1] : undefined;
}

/** AWS JSON 1.1: one address, dispatched on X-Amz-Target (contract aws §6). Registered under /aws/metering. */
export function meteringRoutes(scope: FastifyInstance, context: AwsContext, lifecycle: Lifecycle, sessions: Sessions): void {
  const rates = new RateLimit();

  scope.addContentTypeParser(CONTENT_TYPE, { parseAs: 'buffer', bodyLimit: PARSER_LIMIT }, (request, body, done) => {
    request.bodyText = body.toString('utf8');
    done(null, body);
  });

  scope.post('/', (request, reply) => {
    if (!Buffer.isBuffer(request.body)) throw new AwsError('UnknownOperationException', `Send ${CONTENT_TYPE}.`);
    const settings = context.settings();
    const operation = targetOf(request);
    const caller = verifySignature(
      { method: request.method, url: request.raw.url ?? '/', headers: request.headers, body: request.body },
      settings,
      Date.now(),
      { sessions },
    );
    switch (operation) {
      case 'ResolveCustomer':
      case 'BatchMeterUsage':
        break;
      case 'MeterUsage':
      case 'RegisterUsage':
        throw new AwsError(
          'InvalidProductCodeException',
          `${operation} is for AMI and container products; a SaaS product uses BatchMeterUsage.`,
        );
      default:
        throw new AwsError('UnknownOperationException', 'The operation is not known.');
    }
    if (!settings.meteringRegions.includes(caller.region)) throw new AwsError('DisabledApiException', 'The API is disabled in the Region.');
    if (caller.credential.denied.includes(operation)) {
      throw new AwsError(
        'AccessDeniedException',
        `User: arn:aws:iam::${caller.accountId}:user/sandbox is not authorized to perform: aws-marketplace:${operation}`,
      );
    }
    if (!rates.take(`${caller.accountId}|${caller.region}|${operation}`, settings.ratePerSecond, performance.now()))
      throw new AwsError('ThrottlingException', 'Rate exceeded');
    if (request.body.length >= BODY_LIMIT) throw new AwsError('ValidationException', 'The request must be smaller than 1 MB.');
    const input = readInput(request.bodyText ?? '');
    const output =
      operation === 'ResolveCustomer' ? resolveCustomer(context, lifecycle, caller, input) : batchMeterUsage(context, caller, input);
    return reply.code(200).send(stringifyExact(output));
  });
}

function readInput(text: string): Record<string, unknown> {
  let input: unknown;
  try {
    input = text === '' ? {} : parseExact(text);
  } catch {
    throw new AwsError('SerializationException', 'The body is not JSON.');
  }
  if (!isObject(input)) throw new AwsError('SerializationException', 'The body is not a JSON object.');
  return input;
}
