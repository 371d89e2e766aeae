import type { FastifyInstance, FastifyReply } from 'fastify';
import { act } from '../azure/control.routes.js';
import type { AzureDesk } from '../azure/desk.js';
import type { BilledList } from '../shared/billed.js';
import type { VirtualClock } from '../shared/clock.js';
import { type ClockAdvancer, ClockBusyError, ClockNotSettledError } from '../shared/clock-advance.js';
import { ControlError } from '../shared/http.js';
import type { Settings } from '../shared/settings.js';
import { homePage, landingPage, messagePage } from './pages.js';

type Form = Record<string, string | undefined>;

const STEP_SECONDS = 300;
/** A long advance goes on while the page tells so and reloads itself. */
const ANSWER_WITHIN_MS = 1500;

/** The shop window: plain pages and forms, no script. */
export function storefrontRoutes(
  app: FastifyInstance,
  parts: { desk: AzureDesk; settings: Settings; billed: BilledList; clock: VirtualClock; advancer: ClockAdvancer },
): void {
  const { desk, settings, billed, clock, advancer } = parts;
  let lastFault: string | undefined;

  void app.register((scope, _options, done) => {
    scope.setErrorHandler((error: Error & { statusCode?: number }, _request, reply) => send(reply.code(error.statusCode ?? 500), messagePage(error.message)));

    scope.get('/', (_request, reply) => {
      if (lastFault) {
        const fault = lastFault;
        lastFault = undefined;
        return send(reply, messagePage(fault));
      }
      const newestFirst = desk.list().sort((a, b) => (a.createdAt < b.createdAt ? 1 : -1));
      return send(reply, homePage({ settings: settings.current.azure, subscriptions: newestFirst, billed: billed.list({}), now: clock.now(), advancing: advancer.advancing }));
    });

    scope.post<{ Body: Form }>('/storefront/purchases', (request, reply) => {
      const form = request.body ?? {};
      const buyer = settings.current.azure.buyers[Number(form['buyer'])];
      const isPerSeat = settings.current.azure.offers.some((offer) => offer.id === form['offerId'] && offer.plans.some((plan) => plan.id === form['planId'] && plan.isPricePerSeat));
      const landing = desk.purchase({
        offerId: form['offerId'] ?? '',
        planId: form['planId'] ?? '',
        quantity: isPerSeat ? Number(form['quantity']) : undefined,
        subscriptionName: form['subscriptionName'] || undefined,
        beneficiary: buyer?.beneficiary,
        purchaser: buyer?.purchaser,
        csp: buyer?.purchaser !== undefined,
      });
      return send(reply, landingPage(landing, true));
    });

    scope.post<{ Params: { id: string; action: string }; Body: Form }>('/storefront/subscriptions/:id/:action', (request, reply) => {
      const { id, action } = request.params;
      if (action === 'manage') return send(reply, landingPage(desk.manage(id), false));
      act(desk, id, action, request.body);
      return reply.redirect('/', 303);
    });

    scope.post<{ Body: Form }>('/storefront/clock', async (request, reply) => {
      const seconds = Number(request.body?.['seconds']);
      if (![3600, 10_800, 86_400].includes(seconds)) throw new ControlError(400, 'clock.seconds', 'Choose 1 h, 3 h or 1 day.');
      const moving = advancer.advance(seconds, STEP_SECONDS).catch((error: Error) => {
        lastFault = error instanceof ClockBusyError || error instanceof ClockNotSettledError ? error.message : 'The clock could not be moved.';
      });
      await Promise.race([moving, new Promise((resolve) => setTimeout(resolve, ANSWER_WITHIN_MS).unref())]);
      return reply.redirect('/', 303);
    });
    done();
  });
}

function send(reply: FastifyReply, page: string): FastifyReply {
  return reply
    .header('content-security-policy', "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'")
    .header('referrer-policy', 'same-origin')
    .header('cache-control', 'no-store')
    .type('text/html; charset=utf-8')
    .send(page);
}
