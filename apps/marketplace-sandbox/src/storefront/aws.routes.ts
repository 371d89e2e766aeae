import type { FastifyInstance } from 'fastify';
import { actOnAgreement } from '../aws/control.routes.js';
import type { AwsDesk } from '../aws/desk.js';
import { registrationPage } from './aws.pages.js';
import { sendPage } from './send-page.js';

type Form = Record<string, string | undefined>;

/** Buying and ending at AWS; registered inside the storefront's scope. */
export function awsStorefrontRoutes(scope: FastifyInstance, desk: AwsDesk): void {
  scope.post<{ Body: Form }>('/storefront/aws/purchases', (request, reply) => {
    const form = request.body ?? {};
    const purchase = desk.purchase({
      productCode: form['productCode'],
      buyerAccountId: form['buyerAccountId'],
      order: form['order'] === 'landing_first' ? 'landing_first' : 'licence_first',
      startsAt: desk.inHours(form['startsIn']),
      cppo: form['resellerAccountId'] ? { resellerAccountId: form['resellerAccountId'] } : false,
    });
    return sendPage(reply, registrationPage(purchase.registration, purchase.agreementId));
  });

  scope.post<{ Params: { id: string; action: string } }>('/storefront/aws/agreements/:id/:action', (request, reply) => {
    const { id, action } = request.params;
    const form = (request.body ?? {}) as Form;
    const isSuccessor = action === 'renew' || action === 'replace';
    const successor = { startsAt: desk.inHours(form['startsIn']), order: form['order'], deprovision: true, namesPrevious: true };
    const made = actOnAgreement(desk, id, action, isSuccessor ? successor : undefined);
    if (made && action === 'register') return sendPage(reply, registrationPage(made.registration, made.agreementId));
    return reply.redirect('/', 303);
  });
}
