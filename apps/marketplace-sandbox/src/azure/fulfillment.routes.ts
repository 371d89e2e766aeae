import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { callerOf, publishersOf, requireAppOf } from './auth.js';
import { changeFault } from './change-rules.js';
import type { AzureContext } from './context.js';
import { badRequest, forbidden, notFound } from './errors.js';
import type { Lifecycle } from './lifecycle.js';
import { type AzureOffer, planVisibleTo } from './settings.js';
import { API_VERSION, type AzureOperation, type AzureSubscription } from './types.js';
import { planWire, resolvedWire, subscriptionWire } from './wire.js';

type IdParams = { Params: { id: string } };
type Fields = Record<string, unknown>;

/** Contract azure §3, the subscription calls. Registered under /azure/api. */
export function fulfillmentRoutes(scope: FastifyInstance, context: AzureContext, lifecycle: Lifecycle): void {
  const { state, clock } = context;
  const settings = context.settings;

  function find(request: FastifyRequest, id: string): { subscription: AzureSubscription; offer: AzureOffer } {
    const subscription = state.subscriptions.get(id);
    if (!subscription) throw notFound('subscription', id);
    return { subscription, offer: requireAppOf(callerOf(request), subscription.offerId, settings()) };
  }

  function accepted(request: FastifyRequest, reply: FastifyReply, operation: AzureOperation): FastifyReply {
    const location = `${baseOf(request)}/saas/subscriptions/${operation.subscriptionId}/operations/${operation.id}?api-version=${API_VERSION}`;
    return reply.code(202).header('operation-location', location).send();
  }

  scope.post('/saas/subscriptions/resolve', { config: { operation: 'resolve' } }, (request) => {
    const header = request.headers['x-ms-marketplace-token'];
    const token = typeof header === 'string' ? header : '';
    if (!token) throw badRequest('x-ms-marketplace-token', 'The x-ms-marketplace-token header is required.');
    const known = state.findToken(token);
    // A blank where a + was lands here too: the token was decoded twice (contract azure §2).
    if (!known) throw badRequest('x-ms-marketplace-token', 'The purchase token is invalid. Decode it exactly once.');
    if (Date.parse(known.expiresAt) <= clock.nowMs()) throw badRequest('x-ms-marketplace-token', 'The purchase token has expired.');
    return resolvedWire(find(request, known.subscriptionId).subscription, settings());
  });

  scope.post<IdParams>('/saas/subscriptions/:id/activate', { config: { operation: 'activate' } }, (request, reply) => {
    const { subscription } = find(request, request.params.id);
    if (subscription.status === 'Unsubscribed') throw notFound('subscription', subscription.id);
    if (subscription.status !== 'PendingFulfillmentStart')
      throw badRequest('saasSubscriptionStatus', `The subscription is ${subscription.status} already.`);
    const body = fieldsOf(request);
    // The running service does not check planId.
    if (settings().quirks === 'documented' && body['planId'] !== subscription.planId)
      throw badRequest('planId', 'The planId does not match the purchased plan.');
    if (!quantityMatches(body['quantity'], subscription.quantity))
      throw badRequest('quantity', 'The quantity does not match the purchased quantity.');
    lifecycle.activate(subscription);
    return reply.code(200).send();
  });

  scope.get<{ Querystring: { continuationToken?: string } }>('/saas/subscriptions', { config: { operation: 'list' } }, (request, reply) => {
    const publishers = publishersOf(callerOf(request), settings());
    if (publishers.size === 0) throw forbidden();
    const after = cursorFrom(request.query.continuationToken);
    const all = state.subscriptions
      .values()
      .filter((one) => publishers.has(one.publisherId))
      .sort((a, b) => (cursorOf(a) < cursorOf(b) ? -1 : 1));
    const rest = after === undefined ? all : all.filter((one) => cursorOf(one) > after);
    const page = rest.slice(0, settings().pageSize);
    const last = page.at(-1);
    // Documented: an empty body when there is none.
    if (!last && settings().quirks === 'documented') return reply.code(200).send();
    const next =
      last && rest.length > page.length
        ? {
            '@nextLink': `${baseOf(request)}/saas/subscriptions?continuationToken=${encodeURIComponent(Buffer.from(cursorOf(last)).toString('base64'))}&api-version=${API_VERSION}`,
          }
        : {};
    return reply.send({ subscriptions: page.map((one) => subscriptionWire(one, settings())), ...next });
  });

  scope.get<IdParams>('/saas/subscriptions/:id', { config: { operation: 'get' } }, (request) =>
    subscriptionWire(find(request, request.params.id).subscription, settings()),
  );

  scope.get<IdParams & { Querystring: { planId?: string } }>(
    '/saas/subscriptions/:id/listAvailablePlans',
    { config: { operation: 'plans' } },
    (request, reply) => {
      // Documented: an empty body for an unknown id; the OpenAPI file says 404.
      if (!state.subscriptions.has(request.params.id) && settings().quirks === 'documented') return reply.code(200).send();
      const { subscription, offer } = find(request, request.params.id);
      const wanted = request.query.planId;
      const plans = offer.plans
        .filter((plan) => planVisibleTo(plan, subscription.beneficiary.tenantId) && (!plan.isStopSell || plan.id === subscription.planId))
        .filter((plan) => wanted === undefined || plan.id === wanted);
      return reply.send({ plans: plans.map((plan) => planWire(plan, offer)) });
    },
  );

  scope.patch<IdParams>('/saas/subscriptions/:id', { config: { operation: 'patch' } }, (request, reply) => {
    const { subscription } = find(request, request.params.id);
    requireAllowed(subscription, 'Update');
    const body = fieldsOf(request);
    const fault = changeFault(subscription, settings(), { planId: body['planId'] ?? undefined, quantity: body['quantity'] ?? undefined });
    if (fault) throw badRequest(fault.target, fault.message);
    const change =
      body['planId'] !== undefined && body['planId'] !== null ? { planId: String(body['planId']) } : { quantity: Number(body['quantity']) };
    return accepted(request, reply, lifecycle.requestChange(subscription, change, 'Partner'));
  });

  scope.delete<IdParams>('/saas/subscriptions/:id', { config: { operation: 'delete' } }, (request, reply) => {
    const { subscription } = find(request, request.params.id);
    requireAllowed(subscription, 'Delete');
    if (subscription.status === 'Unsubscribed') throw badRequest('saasSubscriptionStatus', 'The subscription is Unsubscribed already.');
    const operation = lifecycle.unsubscribe(subscription, 'Partner');
    if (!operation) throw new Error('a cancellation by the publisher has an operation');
    return accepted(request, reply, operation);
  });
}

function requireAllowed(subscription: AzureSubscription, operation: 'Update' | 'Delete'): void {
  if (!subscription.allowedCustomerOperations.includes(operation)) {
    throw badRequest('allowedCustomerOperations', `${operation} is not allowed on this subscription.`);
  }
}

function fieldsOf(request: FastifyRequest): Fields {
  const body = request.body;
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw badRequest('request', 'The request body is required.');
  return body as Fields;
}

function quantityMatches(given: unknown, bought: number | null): boolean {
  if (bought === null) return given === undefined || given === null || given === '';
  return given === bought || given === String(bought);
}

function cursorOf(subscription: AzureSubscription): string {
  return `${subscription.createdAt}|${subscription.id}`;
}

function cursorFrom(token: string | undefined): string | undefined {
  if (!token) return undefined;
  const cursor = Buffer.from(token, 'base64').toString();
  if (!cursor.includes('|')) throw badRequest('continuationToken', 'The continuation token is invalid.');
  return cursor;
}

export function baseOf(request: FastifyRequest): string {
  return `${request.protocol}://${request.host}/azure/api`;
}
