import type { FastifyInstance } from 'fastify';
import { act, offerBody } from '../gcp/control.routes.js';
import type { GcpDesk } from '../gcp/desk.js';
import { parseBody } from '../shared/http.js';
import { signUpPage } from './gcp.pages.js';
import { sendPage } from './send-page.js';

type Form = Record<string, string | undefined>;

/** Buying and ending at Google; registered inside the storefront's scope. */
export function gcpStorefrontRoutes(scope: FastifyInstance, desk: GcpDesk): void {
  scope.post<{ Body: Form }>('/storefront/gcp/purchases', async (request, reply) => {
    const form = request.body ?? {};
    const bought = await desk.purchase({
      planId: form['planId'] ?? '',
      buyer: form['buyer'] || undefined,
      landingFirst: form['order'] === 'landing_first',
      privateOffer: form['price'] ? parseBody(offerBody, { price: form['price'], afterEnd: form['afterEnd'] }) : undefined,
    });
    return sendPage(reply, signUpPage(desk.seller, bought.signUp, bought.entitlementId));
  });

  scope.post<{ Params: { id: string; action: string }; Body: Form }>('/storefront/gcp/entitlements/:id/:action', async (request, reply) => {
    const { id, action } = request.params;
    if (action === 'sign-up') return sendPage(reply, signUpPage(desk.seller, await desk.signUp(id), id));
    if (action === 'notify') desk.notify(id);
    else act(desk, id, action, request.body);
    return reply.redirect('/', 303);
  });
}
