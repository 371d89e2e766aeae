import type { FastifyInstance, FastifyReply } from 'fastify';
import { neverStrikes } from '../shared/fault-help.js';
import { faultBody, type Faults, kindOf } from '../shared/faults.js';
import { ControlError, parseBody } from '../shared/http.js';
import { faultsPage, type FaultsView } from './faults.pages.js';
import { sendPage } from './send-page.js';

type Form = Record<string, string | undefined>;

const NUMBERS = new Set(['times', 'rate', 'delayMs', 'status', 'skewMs', 'records']);

/** The page on which faults are armed and watched; registered inside the storefront's scope. */
export function faultStorefrontRoutes(scope: FastifyInstance, faults: Faults): void {
  const show = (reply: FastifyReply, refused?: FaultsView['refused']): FastifyReply =>
    sendPage(reply, faultsPage({ seed: faults.seed, armed: faults.list(), spent: faults.spent(), ...(refused ? { refused } : {}) }));

  scope.get('/faults', (_request, reply) => show(reply));

  scope.post<{ Body: Form }>('/storefront/faults', (request, reply) => {
    const form = request.body ?? {};
    try {
      const fault = parseBody(faultBody, typedOf(form));
      const never = neverStrikes(fault.marketplace, fault.operation, kindOf(fault));
      if (never) throw new ControlError(400, 'fault.never', never);
      faults.add(fault);
    } catch (error) {
      if (!(error instanceof ControlError)) throw error;
      // What was typed stays.
      return show(reply.code(error.statusCode), { form, message: error.message });
    }
    return reply.redirect('/faults#armed', 303);
  });

  scope.post<{ Params: { id: string } }>('/storefront/faults/:id/remove', (request, reply) => {
    // One that has struck for the last time meanwhile is gone as well.
    faults.remove(request.params.id);
    return reply.redirect('/faults#armed', 303);
  });

  scope.post('/storefront/faults/clear', (_request, reply) => {
    faults.clear();
    return reply.redirect('/faults#armed', 303);
  });
}

/** An empty field is none; a number that is none is refused by the rules of the body, as it stands. */
function typedOf(form: Form): Record<string, unknown> {
  const typed = Object.entries(form).flatMap(([name, raw]): [string, unknown][] => {
    const text = raw?.trim() ?? '';
    if (text === '') return [];
    return [[name, NUMBERS.has(name) && !Number.isNaN(Number(text)) ? Number(text) : text]];
  });
  return Object.fromEntries(typed);
}
