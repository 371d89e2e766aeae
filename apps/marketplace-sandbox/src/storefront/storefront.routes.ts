import type { FastifyInstance } from 'fastify';
import type { AwsDesk } from '../aws/desk.js';
import { act } from '../azure/control.routes.js';
import type { AzureDesk } from '../azure/desk.js';
import type { ManagedApps } from '../azure/managed-apps.js';
import type { GcpDesk } from '../gcp/desk.js';
import type { BilledList } from '../shared/billed.js';
import type { VirtualClock } from '../shared/clock.js';
import { type ClockAdvancer, ClockBusyError, ClockNotSettledError } from '../shared/clock-advance.js';
import type { Faults } from '../shared/faults.js';
import { ControlError } from '../shared/http.js';
import type { Settings } from '../shared/settings.js';
import { azureSection } from './azure.pages.js';
import { awsSection } from './aws.pages.js';
import { awsStorefrontRoutes } from './aws.routes.js';
import { faultStorefrontRoutes } from './faults.routes.js';
import { gcpSection } from './gcp.pages.js';
import { gcpStorefrontRoutes } from './gcp.routes.js';
import { homePage, landingPage, messagePage } from './pages.js';
import { sendPage } from './send-page.js';

type Form = Record<string, string | undefined>;

const STEP_SECONDS = 300;
/** A long advance goes on while the page tells so and reloads itself. */
const ANSWER_WITHIN_MS = 1500;

/** The shop window: plain pages and forms, no script. */
export function storefrontRoutes(
  app: FastifyInstance,
  parts: {
    desk: AzureDesk;
    managedApps: ManagedApps;
    aws: AwsDesk;
    gcp: GcpDesk | undefined;
    settings: Settings;
    billed: BilledList;
    faults: Faults;
    clock: VirtualClock;
    advancer: ClockAdvancer;
  },
): void {
  const { desk, managedApps, aws, gcp, settings, billed, faults, clock, advancer } = parts;
  let lastFault: string | undefined;

  void app.register((scope, _options, done) => {
    scope.setErrorHandler((error: Error & { statusCode?: number }, _request, reply) =>
      sendPage(reply.code(error.statusCode ?? 500), messagePage(error.message)),
    );

    scope.get('/', (_request, reply) => {
      if (lastFault) {
        const fault = lastFault;
        lastFault = undefined;
        return sendPage(reply, messagePage(fault));
      }
      const agreements = aws.list().reverse();
      const newestFirst = desk.list().sort((a, b) => (a.createdAt < b.createdAt ? 1 : -1));
      return sendPage(
        reply,
        homePage({
          billed: billed.list({}),
          now: clock.now(),
          advancing: advancer.advancing,
          armedFaults: faults.list().length,
          marketplaces: [
            azureSection({ settings: settings.current.azure, subscriptions: newestFirst, managedApps: managedApps.all() }),
            awsSection(settings.current.aws, agreements),
            gcp && gcpSection(settings.current.gcp, gcp),
          ],
        }),
      );
    });

    scope.post<{ Body: Form }>('/storefront/purchases', (request, reply) => {
      const form = request.body ?? {};
      const buyer = settings.current.azure.buyers[Number(form['buyer'])];
      const isPerSeat = settings.current.azure.offers.some(
        (offer) => offer.id === form['offerId'] && offer.plans.some((plan) => plan.id === form['planId'] && plan.isPricePerSeat),
      );
      const landing = desk.purchase({
        offerId: form['offerId'] ?? '',
        planId: form['planId'] ?? '',
        quantity: isPerSeat ? Number(form['quantity']) : undefined,
        subscriptionName: form['subscriptionName'] || undefined,
        beneficiary: buyer?.beneficiary,
        purchaser: buyer?.purchaser,
        csp: buyer?.purchaser !== undefined,
        // An empty box is the plan's own way.
        autoActivate: form['autoActivate'] ? true : undefined,
        autoRenew: !form['endsAfterTerm'],
        isFreeTrial: Boolean(form['isFreeTrial']),
        isTest: Boolean(form['isTest']),
      });
      return sendPage(reply, landingPage(landing, true));
    });

    scope.post<{ Params: { id: string; action: string }; Body: Form }>('/storefront/subscriptions/:id/:action', (request, reply) => {
      const { id, action } = request.params;
      if (action === 'manage') return sendPage(reply, landingPage(desk.manage(id), false));
      act(desk, id, action, request.body);
      return reply.redirect('/', 303);
    });

    scope.post<{ Body: Form }>('/storefront/managed-applications', (request, reply) => {
      const { plan = '', outcome } = request.body ?? {};
      const [offerId = '', planId = ''] = plan.split('/');
      managedApps.create({ offerId, planId, outcome: outcome === 'failed' ? 'failed' : 'succeeded' });
      return reply.redirect('/', 303);
    });
    scope.post<{ Params: { id: string; action: string }; Body: Form }>('/storefront/managed-applications/:id/:action', (request, reply) => {
      managedApps.act(request.params.id, request.params.action, request.body?.['planId']);
      return reply.redirect('/', 303);
    });

    scope.post<{ Body: Form }>('/storefront/clock', async (request, reply) => {
      const seconds = Number(request.body?.['seconds']);
      if (![3600, 10_800, 86_400].includes(seconds)) throw new ControlError(400, 'clock.seconds', 'Choose 1 h, 3 h or 1 day.');
      const moving = advancer.advance(seconds, STEP_SECONDS).catch((error: Error) => {
        lastFault =
          error instanceof ClockBusyError || error instanceof ClockNotSettledError ? error.message : 'The clock could not be moved.';
      });
      await Promise.race([moving, new Promise((resolve) => setTimeout(resolve, ANSWER_WITHIN_MS).unref())]);
      return reply.redirect('/', 303);
    });
    faultStorefrontRoutes(scope, faults);
    awsStorefrontRoutes(scope, aws);
    if (gcp) gcpStorefrontRoutes(scope, gcp);
    done();
  });
}
