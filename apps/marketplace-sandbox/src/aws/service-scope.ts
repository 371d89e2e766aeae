import { randomUUID } from 'node:crypto';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { CallsLog } from '../shared/calls-log.js';
import type { Faults } from '../shared/faults.js';
import { recordCalls } from '../shared/recorded-scope.js';
import type { AwsContext } from './context.js';
import { AwsError, errorText, expiredToken, failureText, queryError } from './errors.js';
import { type AwsCaller, type Sessions, verifySignature } from './sigv4.js';

const PARSER_LIMIT = 16_000_000;
const QUERY_TYPE = 'application/x-www-form-urlencoded';

interface ServiceParts {
  context: AwsContext;
  calls: CallsLog;
  faults: Faults;
  sessions: Sessions;
}

/** What a service does with one call that was signed well. `input` is the JSON object, or the form's fields. */
export type Operation = (
  input: Record<string, unknown>,
  caller: AwsCaller,
  request: FastifyRequest,
) => object | string | Promise<object | string>;

interface Service {
  prefix: string;
  /** In the scope of the signature. */
  name: string;
  /** JSON: content type and prefix of X-Amz-Target. Absent: the query protocol, with XML answers (contract aws §4.2, SNS and STS). */
  json?: { contentType: string; target: string };
  operations: Record<string, Operation>;
  /** Routes that are not signed. */
  more?: (scope: FastifyInstance) => void;
}

/** One service of AWS under its own prefix: signature, permissions, the wire's way of errors, the log of calls and its faults. */
export function serviceScope(app: FastifyInstance, { context, calls, faults, sessions }: ServiceParts, service: Service): void {
  const { json } = service;
  const nameOf = (request: FastifyRequest): string => {
    const header = request.headers['x-amz-target'];
    if (json) return typeof header === 'string' && header.startsWith(json.target) ? header.slice(json.target.length) : 'unknown';
    return new URLSearchParams(request.bodyText ?? '').get('Action') ?? 'unknown';
  };
  const failure = (reply: FastifyReply, type: string, message: string, status = 400): FastifyReply => {
    if (!json) {
      const made = queryError(type, message, randomUUID());
      return reply.code(made.status).type('text/xml').send(made.text);
    }
    return reply.code(status).header('x-amzn-errortype', type).type(json.contentType).send(errorText(type, message));
  };
  void app.register(
    (scope, _options, done) => {
      scope.removeAllContentTypeParsers();
      scope.addContentTypeParser(
        json?.contentType ?? QUERY_TYPE,
        { parseAs: 'buffer', bodyLimit: PARSER_LIMIT },
        (request, body, parsed) => {
          request.bodyText = body.toString('utf8');
          parsed(null, body);
        },
      );
      scope.addHook('onRequest', (_request, reply, next) => {
        reply.header('x-amzn-requestid', randomUUID());
        next();
      });
      recordCalls(scope, {
        marketplace: 'aws',
        calls,
        faults,
        failureBody: (status) =>
          json
            ? failureText(status)
            : queryError(status >= 500 ? 'InternalServiceErrorException' : 'Throttling', 'injected', randomUUID()).text,
        // The query protocol names its operation in the body, which is not there when the call begins.
        operationOf: (request) => request.routeOptions.config.operation ?? (json ? lower(nameOf(request)) : service.name),
        throttleStatus: 400,
        expiredToken,
      });
      scope.setErrorHandler((error: Error & { statusCode?: number }, _request, reply) => {
        if (error instanceof AwsError) return failure(reply, error.type, error.message, error.statusCode);
        if ((error.statusCode ?? 500) < 500) return failure(reply, 'SerializationException', error.message);
        process.stderr.write(`marketplace-sandbox: ${error.stack ?? error.message}\n`);
        return failure(reply, 'InternalServiceErrorException', 'An internal error has occurred.', 500);
      });
      scope.post('/', async (request, reply) => {
        const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
        const caller = verifySignature(
          { method: request.method, url: request.raw.url ?? '/', headers: request.headers, body },
          context.settings(),
          Date.now(),
          { service: service.name, sessions },
        );
        const name = nameOf(request);
        const operation = Object.hasOwn(service.operations, name) ? service.operations[name] : undefined;
        if (!operation) throw new AwsError('UnknownOperationException', `The operation ${name} is not known.`);
        if (caller.credential.denied.includes(name))
          throw new AwsError(
            'AccessDeniedException',
            `User: arn:aws:iam::${caller.accountId}:user/sandbox is not authorized to perform: ${name}`,
          );
        const answer = await operation(inputOf(request, json !== undefined), caller, request);
        if (typeof answer === 'string')
          return reply
            .type('text/xml')
            .send(
              `<${name}Response><${name}Result>${answer}</${name}Result><ResponseMetadata><RequestId>${randomUUID()}</RequestId></ResponseMetadata></${name}Response>`,
            );
        return reply.type(json?.contentType ?? 'text/plain').send(JSON.stringify(answer));
      });
      service.more?.(scope);
      done();
    },
    { prefix: service.prefix },
  );
}

const lower = (name: string): string => `${name.charAt(0).toLowerCase()}${name.slice(1)}`;

function inputOf(request: FastifyRequest, isJson: boolean): Record<string, unknown> {
  const text = request.bodyText ?? '';
  if (!isJson) return Object.fromEntries(new URLSearchParams(text));
  try {
    const value: unknown = JSON.parse(text === '' ? '{}' : text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Answered below.
  }
  throw new AwsError('SerializationException', 'The body is not a JSON object.');
}
