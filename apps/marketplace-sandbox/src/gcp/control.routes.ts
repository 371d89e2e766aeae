import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { ControlError, parseBody } from '../shared/http.js';
import type { GcpDesk } from './desk.js';
import { AFTER_END } from './offers.js';
import { pushForgeries } from './pubsub/push-token.js';
import { forgeries } from './sign-up.js';
import { CHECK_ERROR_CODES } from './types.js';

const offerFields = {
  /** Decimal text, per month; Google's own, no call shows it. */
  price: z
    .string()
    .regex(/^\d+(\.\d+)?$/, 'must be a decimal text such as "19.50"')
    .optional(),
  durationMonths: z.number().int().positive().optional(),
  endsAt: z.iso.datetime().optional(),
  afterEnd: z.enum(AFTER_END).optional(),
};
const onlyOneEnd = { error: 'an offer has a duration or a fixed end, not both' };
const hasOneEnd = (offer: { durationMonths?: number | undefined; endsAt?: string | undefined }): boolean =>
  offer.durationMonths === undefined || offer.endsAt === undefined;
export const offerBody = z.strictObject(offerFields).refine(hasOneEnd, onlyOneEnd);
export const replacementBody = z
  .strictObject({
    ...offerFields,
    planId: z.string().min(1).optional(),
    startsAt: z.iso.datetime().optional(),
    autoApprove: z.boolean().optional(),
  })
  .refine(hasOneEnd, onlyOneEnd);
const portalBody = z.strictObject({ decision: z.enum(['approve', 'reject']).default('approve') });

export const purchaseBody = z.strictObject({
  planId: z.string(),
  buyer: z.string().min(1).optional(),
  orderDelay: z.number().nonnegative().optional(),
  notificationFirst: z.boolean().optional(),
  landingFirst: z.boolean().optional(),
  autoApprove: z.boolean().optional(),
  startsAt: z.iso.datetime().optional(),
  privateOffer: offerBody.optional(),
  reseller: z.string().min(1).optional(),
});
export const accountBody = z.strictObject({ buyer: z.string().min(1) });
export const adjustBody = z.strictObject({
  externalId: z.string(),
  dimension: z.string(),
  hour: z.iso.datetime(),
  by: z.string().regex(/^-?\d+(\.\d+)?$/),
});
export const tokenBody = z
  .strictObject({ entitlementId: z.string().optional(), accountId: z.string().optional(), forge: z.enum(forgeries).default('none') })
  .refine((body) => (body.entitlementId === undefined) !== (body.accountId === undefined), 'name an entitlementId or an accountId');
export const messageBody = z
  .strictObject({ text: z.string().optional(), base64: z.base64().optional() })
  .refine((body) => (body.text === undefined) !== (body.base64 === undefined), 'give text or base64');
export const pushBody = z.strictObject({ body: z.unknown(), forge: z.enum(pushForgeries).default('none') });
const changeBody = z.object({ planId: z.string(), atTermEnd: z.coerce.boolean().default(false) });

type IdParams = { Params: { id: string } };

/** What happens on Google's side of the counter. Registered under /sandbox/gcp. */
export function gcpControlRoutes(scope: FastifyInstance, desk: GcpDesk): void {
  scope.post('/purchases', async (request, reply) => reply.code(201).send(await desk.purchase(parseBody(purchaseBody, request.body))));

  scope.post('/accounts', async (request, reply) =>
    reply.code(201).send(await desk.openAccount(parseBody(accountBody, request.body).buyer)),
  );

  scope.get('/entitlements', () => ({ items: desk.list().map((one) => desk.view(one.id)) }));
  scope.get<IdParams>('/entitlements/:id', (request) => desk.view(request.params.id));

  scope.post<IdParams & { Params: { action: string } }>('/entitlements/:id/:action', async (request, reply) => {
    const { id, action } = request.params;
    if (action === 'sign-up') return reply.code(201).send({ signUp: await desk.signUp(id) });
    if (action === 'notify') return { entitlementId: id, published: desk.notify(id) };
    act(desk, id, action, request.body);
    return reply.code(202).send({ entitlementId: id });
  });

  scope.post('/sign-up-tokens', async (request, reply) => {
    const { entitlementId, accountId, forge } = parseBody(tokenBody, request.body);
    const signUp =
      entitlementId === undefined ? await desk.signUpOfAccount(accountId ?? '', forge) : await desk.signUp(entitlementId, forge);
    return reply.code(201).send({ signUp });
  });

  scope.post('/messages', (request, reply) => {
    const { text, base64 } = parseBody(messageBody, request.body);
    const data = text === undefined ? Buffer.from(base64 ?? '', 'base64') : Buffer.from(text, 'utf8');
    return reply.code(201).send({ messageId: desk.publishAny(data) });
  });
  scope.get('/messages', () => ({ unacknowledged: desk.unacknowledged }));
  scope.post('/pushes', (request) => {
    const { body, forge } = parseBody(pushBody, request.body);
    return desk.push(body, forge);
  });

  scope.post<IdParams>('/accounts/:id/delete', (request, reply) => {
    desk.deleteAccount(request.params.id);
    return reply.code(202).send({ accountId: request.params.id });
  });

  // What Google's reset does to the approval, without cancelling what was bought (contract gcp §1: no message tells of it).
  scope.post<IdParams>('/accounts/:id/unapprove', (request, reply) => {
    desk.unapprove(request.params.id);
    return reply.code(202).send({ accountId: request.params.id });
  });

  scope.post('/keys/rotate', (_request, reply) => reply.code(201).send({ kid: desk.rotateKeys() }));

  // Test only: what a marketplace's own error would look like. A reconciliation that does not see it proves nothing.
  scope.post('/billed/adjust', (request) => desk.adjustBilled(parseBody(adjustBody, request.body)));
}

export function act(desk: GcpDesk, id: string, action: string, body: unknown): void {
  switch (action) {
    case 'change-plan': {
      const { planId, atTermEnd } = parseBody(changeBody, body);
      return desk.changePlan(id, planId, atTermEnd);
    }
    case 'replace-offer':
      return desk.replaceOffer(id, parseBody(replacementBody, body));
    case 'end-offer':
      return desk.endOffer(id);
    case 'portal':
      return desk.decideInPortal(id, parseBody(portalBody, body).decision);
    case 'cancel-plan-change':
      return desk.cancelPlanChange(id);
    case 'cancel':
      return desk.cancel(id);
    case 'cancel-now':
      return desk.cancelNow(id);
    case 'revert-cancel':
      return desk.revertCancel(id);
    case 'renew':
      return desk.renew(id);
    case 'delete':
      return desk.delete(id);
    case 'billing-disable':
      return desk.billing(id, false);
    case 'billing-enable':
      return desk.billing(id, true);
    case 'check-error':
      return desk.scriptCheck(id, parseBody(z.object({ code: z.enum(CHECK_ERROR_CODES).nullable() }), body).code);
    case 'report-errors':
      return desk.scriptReport(id, parseBody(z.object({ times: z.number().int().nonnegative().default(1) }), body).times);
    default:
      throw new ControlError(404, 'action.unknown', `There is no action ${action}.`);
  }
}
