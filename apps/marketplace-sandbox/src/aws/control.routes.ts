import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { ControlError, parseBody } from '../shared/http.js';
import { entitleBody } from './channels/control.routes.js';
import type { AwsDesk, Purchase } from './desk.js';

const instant = z.iso.datetime({ offset: true });
export const purchaseBody = z.strictObject({
  productCode: z.string().optional(),
  buyerAccountId: z
    .string()
    .regex(/^\d{12}$/)
    .optional(),
  order: z.enum(['landing_first', 'licence_first']).optional(),
  startsAt: instant.optional(),
  endsAt: instant.optional(),
  /** Resold by a channel partner: the first of the settings, or this account. */
  cppo: z.union([z.boolean(), z.strictObject({ resellerAccountId: z.string().regex(/^\d{12}$/) })]).optional(),
  /** True: 14 days. */
  freeTrial: z.union([z.boolean(), z.strictObject({ days: z.number().int().positive() })]).optional(),
});
const endBody = z.strictObject({ order: z.enum(['ended_first', 'deprovisioned_first']).default('ended_first') });
const successorBody = z.strictObject({
  startsAt: instant.optional(),
  endsAt: instant.optional(),
  namesPrevious: z.boolean().optional(),
  /** Also send License Deprovisioned for the old licence. */
  deprovision: z.boolean().default(false),
  order: z.enum(['documented', 'licence_first', 'old_first']).default('documented'),
});
const amendBody = z.strictObject({ endsAt: instant.optional(), autoRenewalEnabled: z.boolean().optional() });
const advisoryBody = z.strictObject({ kind: z.enum(['issued', 'resolved']).default('issued') });
const billBody = z.strictObject({
  outcome: z.enum(['completed', 'failed']).default('completed'),
  id: z.string().min(1).optional(),
  invoiceId: z.string().min(1),
  amount: z.string().regex(/^\d+(\.\d+)?$/),
  currency: z
    .string()
    .regex(/^[A-Z]{3}$/)
    .default('USD'),
  reason: z.string().optional(),
});
export const eventBody = z.strictObject({
  detailType: z.string().min(1),
  detail: z.unknown(),
  secret: z.enum(['right', 'wrong', 'none']).default('right'),
  id: z.string().optional(),
  time: instant.optional(),
  source: z.string().optional(),
});
export const adjustBody = z.strictObject({
  externalId: z.string().min(1),
  dimension: z.string(),
  hour: z.iso.datetime(),
  by: z.string().regex(/^-?\d+$/),
});

type IdParams = { Params: { id: string } };

/** What happens on AWS's side of the counter. Registered under /sandbox/aws. */
export function awsControlRoutes(scope: FastifyInstance, desk: AwsDesk): void {
  scope.post('/purchases', (request, reply) => reply.code(201).send(desk.purchase(parseBody(purchaseBody, request.body))));

  scope.get('/agreements', () => ({ items: desk.list().map((one) => desk.view(one.id)) }));
  scope.get<IdParams>('/agreements/:id', (request) => desk.view(request.params.id));

  scope.post<IdParams & { Params: { action: string } }>('/agreements/:id/:action', (request, reply) => {
    const { id, action } = request.params;
    const made = actOnAgreement(desk, id, action, request.body);
    return made ? reply.code(201).send(made) : reply.code(202).send({ agreementId: id });
  });

  // Test only: what a marketplace's own error would look like. A reconciliation that does not see it proves nothing.
  scope.post('/billed/adjust', (request) => desk.adjustBilled(parseBody(adjustBody, request.body)));

  scope.post('/events', async (request) => desk.send(parseBody(eventBody, request.body)));
}

/** Answers with a purchase when the action leads to a landing. */
export function actOnAgreement(desk: AwsDesk, id: string, action: string, body: unknown): Purchase | undefined {
  switch (action) {
    case 'cancel':
      return void desk.cancel(id, parseBody(endBody, body).order);
    case 'expire':
      return void desk.expire(id, parseBody(endBody, body).order);
    case 'renew':
      return desk.succeed(id, 'RENEW', parseBody(successorBody, body));
    case 'replace':
      return desk.succeed(id, 'REPLACE', parseBody(successorBody, body));
    case 'amend':
      return void desk.amend(id, parseBody(amendBody, body));
    case 'license':
      return void desk.license(id);
    case 'register':
      return desk.register(id);
    case 'entitle':
      return void desk.entitle(id, parseBody(entitleBody, body));
    case 'advisory':
      return void desk.advise(id, parseBody(advisoryBody, body).kind === 'issued' ? 'Issued' : 'Resolved');
    case 'billing-adjustment':
      return void desk.adjustBill(id, parseBody(billBody, body));
    default:
      throw new ControlError(404, 'action.unknown', `There is no action ${action}.`);
  }
}
