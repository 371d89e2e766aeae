import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ExactNumber, parseExact, stringifyExact } from '../shared/exact-json.js';
import { callerOf } from './auth.js';
import { leftForLater } from '../shared/faults.js';
import type { AzureContext } from './context.js';
import { AzureError } from './errors.js';
import { takeUsage, type UsageItem, type UsageOutcome } from './metering.js';
import { readBack } from './read-back.js';
import type { AcceptedUsage } from './types.js';

const MAX_BATCH = 25;
const NEVER = '0001-01-01T00:00:00';

/** Contract azure §6. Registered under /azure/api. */
export function meteringRoutes(scope: FastifyInstance, context: AzureContext): void {
  scope.post('/usageEvent', { config: { operation: 'usageEvent' } }, (request, reply) => {
    const item = parsed(request);
    if (!isItem(item)) throw requestError('usageEventRequest', 'The request body is required.');
    const outcome = takeUsage(context, callerOf(request), item);
    if (outcome.kind === 'accepted') return sendExact(reply, 200, acceptedWire(outcome.usage, 'Accepted'));
    if (outcome.kind === 'duplicate') return sendExact(reply, 409, conflictWire(outcome.first));
    if (outcome.code === 'ResourceNotAuthorized') throw new AzureError(403, { message: outcome.message, code: 'Forbidden' });
    throw new AzureError(400, {
      message: 'One or more errors have occurred.',
      target: 'usageEventRequest',
      details: [{ message: outcome.message, target: outcome.target, code: outcome.code }],
      code: 'BadArgument',
    });
  });

  scope.post('/batchUsageEvent', { config: { operation: 'batchUsageEvent' } }, (request, reply) => {
    const body = parsed(request);
    const items = isItem(body) ? body['request'] : undefined;
    if (!Array.isArray(items) || items.length === 0) throw requestError('request', 'The request must hold at least one usage event.');
    if (items.length > MAX_BATCH)
      throw requestError('request', `The request holds ${items.length} usage events; the maximum is ${MAX_BATCH}.`);
    const caller = callerOf(request);
    const taken = items.length - leftForLater(context.faults, 'azure', 'batchUsageEvent', items.length);
    const result = items.map((raw: unknown, index) => {
      const item = isItem(raw) ? raw : {};
      return index < taken ? itemWire(item, takeUsage(context, caller, item)) : leftWire(item);
    });
    return sendExact(reply, 200, { count: result.length, result });
  });

  scope.get<{ Querystring: Record<string, string | undefined> }>(
    '/usageEvents',
    { config: { operation: 'usageEvents' } },
    (request, reply) => sendExact(reply, 200, readBack(context, callerOf(request), request.query)),
  );
}

function parsed(request: FastifyRequest): unknown {
  return request.bodyText ? parseExact(request.bodyText) : undefined;
}

function isItem(value: unknown): value is UsageItem {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof ExactNumber);
}

function sendExact(reply: FastifyReply, status: number, body: unknown): FastifyReply {
  return reply.code(status).type('application/json; charset=utf-8').send(stringifyExact(body));
}

function acceptedWire(usage: AcceptedUsage, status: 'Accepted' | 'Duplicate'): object {
  return {
    usageEventId: usage.usageEventId,
    status,
    messageTime: usage.acceptedAt,
    resourceId: usage.resourceId,
    quantity: new ExactNumber(usage.quantity),
    dimension: usage.dimension,
    effectiveStartTime: usage.effectiveStartTime,
    planId: usage.planId,
  };
}

function conflictWire(first: AcceptedUsage): object {
  return {
    additionalInfo: { acceptedMessage: acceptedWire(first, 'Duplicate') },
    message: 'This usage event already exist.',
    code: 'Conflict',
  };
}

function itemWire(item: UsageItem, outcome: UsageOutcome): object {
  if (outcome.kind === 'accepted') return acceptedWire(outcome.usage, 'Accepted');
  const error =
    outcome.kind === 'duplicate' ? conflictWire(outcome.first) : { message: outcome.message, target: outcome.target, code: outcome.code };
  return {
    status: outcome.kind === 'duplicate' ? 'Duplicate' : outcome.code,
    messageTime: NEVER,
    error,
    resourceId: item['resourceId'],
    quantity: item['quantity'],
    dimension: item['dimension'],
    effectiveStartTime: item['effectiveStartTime'],
    planId: item['planId'],
  };
}

/** Not taken, for a reason of Microsoft's own: it may be sent again (contract azure §6, status Error). */
function leftWire(item: UsageItem): object {
  return { ...itemWire(item, { kind: 'refused', code: 'BadArgument', target: 'usageEvent', message: 'Internal error.' }), ...LEFT };
}
const LEFT = { status: 'Error', error: { message: 'The usage event could not be processed. Try again.', code: 'InternalServerError' } };

function requestError(target: string, message: string): AzureError {
  return new AzureError(400, {
    message: 'One or more errors have occurred.',
    target,
    details: [{ message, target, code: 'BadArgument' }],
    code: 'BadArgument',
  });
}
