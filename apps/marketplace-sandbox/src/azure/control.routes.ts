import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { ControlError, parseBody } from '../shared/http.js';
import type { AzureDesk } from './desk.js';
import { type EntraKeys, rotationSteps } from './entra-keys.js';
import type { AzureOperation } from './types.js';
import { forgeries } from './webhook-token.js';

const person = z.object({ emailId: z.string(), objectId: z.guid(), tenantId: z.guid(), puid: z.string().nullable() }).partial();
export const purchaseBody = z.strictObject({
  offerId: z.string(),
  planId: z.string(),
  quantity: z.number().optional(),
  subscriptionName: z.string().min(1).optional(),
  beneficiary: person.optional(),
  purchaser: person.optional(),
  autoActivate: z.boolean().optional(),
  autoRenew: z.boolean().optional(),
  isTest: z.boolean().optional(),
  isFreeTrial: z.boolean().optional(),
  csp: z.boolean().optional(),
});
export const adjustBody = z.strictObject({
  externalId: z.guid(),
  dimension: z.string(),
  hour: z.iso.datetime(),
  by: z.string().regex(/^-?\d+(\.\d+)?$/),
});
export const webhookBody = z.strictObject({
  body: z.unknown(),
  forge: z.enum(forgeries).default('none'),
  headers: z.record(z.string(), z.string()).optional(),
  offerId: z.string().optional(),
});

type IdParams = { Params: { id: string } };

/** What happens on Microsoft's side of the counter. Registered under /sandbox/azure. */
export function azureControlRoutes(scope: FastifyInstance, desk: AzureDesk, keys: EntraKeys): void {
  scope.post('/purchases', (request, reply) => reply.code(201).send(desk.purchase(parseBody(purchaseBody, request.body))));

  scope.get('/subscriptions', () => ({ items: desk.list().map((one) => desk.view(one.id)) }));
  scope.get<IdParams>('/subscriptions/:id', (request) => desk.view(request.params.id));

  scope.post<IdParams & { Params: { action: string } }>('/subscriptions/:id/:action', (request, reply) => {
    const { id, action } = request.params;
    if (action === 'manage') return reply.code(201).send(desk.manage(id));
    const operation = act(desk, id, action, request.body);
    return reply.code(202).send({ subscriptionId: id, operationId: operation?.id ?? null });
  });

  scope.post<{ Params: { step: string } }>('/keys/:step', async (request) => {
    const step = rotationSteps.find((one) => one === request.params.step);
    if (!step) throw new ControlError(404, 'action.unknown', `There is no step ${request.params.step}.`);
    return { kids: await keys.rotate(step) };
  });

  // Test only: what a marketplace's own error would look like. A reconciliation that does not see it proves nothing.
  scope.post('/billed/adjust', (request) => desk.adjustBilled(parseBody(adjustBody, request.body)));

  scope.post('/webhooks', async (request) => {
    const { body, forge, headers, offerId } = parseBody(webhookBody, request.body);
    return desk.deliver(body, forge, headers, offerId);
  });
}

export function act(desk: AzureDesk, id: string, action: string, body: unknown): AzureOperation | undefined {
  switch (action) {
    case 'change-plan':
      return desk.changePlan(id, parseBody(z.object({ planId: z.string() }), body).planId);
    case 'change-quantity':
      return desk.changeQuantity(id, parseBody(z.object({ quantity: z.coerce.number() }), body).quantity);
    case 'suspend':
      return desk.suspend(id);
    case 'reinstate':
      return desk.reinstate(id);
    case 'renew':
      return desk.renew(id);
    case 'unsubscribe':
      return desk.unsubscribe(id);
    default:
      throw new ControlError(404, 'action.unknown', `There is no action ${action}.`);
  }
}
