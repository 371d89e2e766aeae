import type { FastifyInstance, FastifyRequest } from 'fastify';
import { callerOf, requireAppOf } from './auth.js';
import type { AzureContext } from './context.js';
import { badRequest, notFound } from './errors.js';
import type { Operations } from './operations.js';
import type { AzureOperation, AzureSubscription } from './types.js';
import { operationWire } from './wire.js';

type OperationParams = { Params: { id: string; operationId: string } };

/** How late pending operations appear in the list of the running service. */
const OBSERVED_LIST_DELAY_MS = 2000;

/** Contract azure §3, the operation calls. Registered under /azure/api. */
export function operationRoutes(scope: FastifyInstance, context: AzureContext, operations: Operations): void {
  const { state, clock, settings } = context;

  function findSubscription(request: FastifyRequest, id: string): AzureSubscription {
    const subscription = state.subscriptions.get(id);
    if (!subscription) throw missing('subscription', id);
    requireAppOf(callerOf(request), subscription.offerId, settings());
    return subscription;
  }

  function findOperation(request: FastifyRequest, params: OperationParams['Params']): AzureOperation {
    const subscription = findSubscription(request, params.id);
    const operation = state.operations.get(params.operationId);
    if (!operation || operation.subscriptionId !== subscription.id) throw missing('operation', params.operationId);
    return operation;
  }

  /** The running service answers 400 where the documents say 404. */
  function missing(what: string, id: string): Error {
    return settings().quirks === 'observed' ? badRequest(`${what}Id`, `The ${what} ${id} was not found.`) : notFound(what, id);
  }

  scope.get<{ Params: { id: string } }>('/saas/subscriptions/:id/operations', { config: { operation: 'listOperations' } }, (request) => {
    const observed = settings().quirks === 'observed';
    if (observed && !state.subscriptions.has(request.params.id)) return { operations: [] };
    const subscription = findSubscription(request, request.params.id);
    const visibleUntil = clock.nowMs() - (observed ? OBSERVED_LIST_DELAY_MS : 0);
    const pending = state
      .operationsOf(subscription.id)
      .filter((one) => operations.pending(one) && Date.parse(one.createdAt) <= visibleUntil);
    return { operations: pending.map(operationWire) };
  });

  scope.get<OperationParams>('/saas/subscriptions/:id/operations/:operationId', { config: { operation: 'getOperation' } }, (request) =>
    operationWire(findOperation(request, request.params)),
  );

  scope.patch<OperationParams>(
    '/saas/subscriptions/:id/operations/:operationId',
    { config: { operation: 'patchOperation' } },
    (request, reply) => {
      const operation = findOperation(request, request.params);
      const status = (request.body as { status?: unknown } | undefined)?.status;
      operations.patch(operation, status, String(reply.getHeader('x-ms-requestid')));
      return reply.code(200).send();
    },
  );
}
